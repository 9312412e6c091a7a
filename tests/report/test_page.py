"""The report as a reader gets it: one file that says what the tables say, in a browser too."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cifar100x import compare, train
from tests.conftest import TESTED, in_folder

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


class Page(HTMLParser):
    """Tags with their attributes, and what stands in figures and table cells."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.captions: list[str] = []
        self.cells: list[str] = []
        self.inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside.append(tag)
        if tag == "figcaption":
            self.captions.append("")
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        if tag in self.inside:
            del self.inside[len(self.inside) - 1 - self.inside[::-1].index(tag) :]

    def handle_data(self, data):
        if "figcaption" in self.inside:
            self.captions[-1] += data
        if {"td", "th"} & set(self.inside):
            self.cells[-1] += data


@pytest.fixture(scope="module")
def report(compared_study, one_encoder, tmp_path_factory, cache) -> Path:
    """The page of a study of three models."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(compared_study / "runs", folder / "runs")
    shutil.rmtree(folder / "runs/default/report")
    shutil.copytree(one_encoder / "runs/default/autoencoder", folder / "runs/default/autoencoder")
    with in_folder(folder, cache) as run:
        run(train.main, *TESTED, "learning_rate=1e-2", "-m", "candidate=t-arch2", "fold=0,1")
        run(compare.main, "study=default")
    return folder / "runs/default/report/report.html"


def test_the_page(report):
    html = report.read_text()
    page = Page(html)
    figures = [attributes["id"] for tag, attributes in page.tags if tag == "figure"]
    assert figures == [
        "accuracy", "cost", "forest", "confusion", "superclass-confusion", "confused-pairs", "learning-curves",
        "superclasses", "reliability", "reconstructions",
    ]  # fmt: skip
    assert len(page.captions) == len(figures)
    assert all(len(caption.strip()) > 30 for caption in page.captions)
    drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(drawings) == len(figures) - 1
    assert all(drawing["role"] == "img" and len(drawing["aria-label"]) > 30 for drawing in drawings)
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")

    verdict = json.loads((report.parent / "verdict.json").read_text())
    assert f"{verdict['chosen']} is the one to choose" in html
    table1 = (report.parent / "table1.csv").read_text().splitlines()[1:]
    for model, mean in (line.split(",")[:2] for line in table1):
        assert f"{100 * float(mean):.1f}%" in page.cells[page.cells.index(model) :][:3]
    assert "35.1%" not in page.cells, "the paper's accuracy of arch1-hyp1, on other images"


def test_the_page_needs_no_other_file(report):
    html = report.read_text()
    addresses = [
        value
        for tag, attributes in Page(html).tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href") and not value.startswith(("data:", "#"))
    ]
    assert addresses == []
    assert "<script" not in html
    assert not re.search(r"@import|url\((?!#)", html)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here to show the page in")
@pytest.mark.parametrize("width", [1100, 390])
def test_the_page_in_a_browser(width, report, tmp_path):
    """Rendered without a word on the console, every figure with a size, and no page wider than its window."""
    probe = tmp_path / "probe.html"
    script = """<script nonce="probe">addEventListener("load", () => {
        const boxes = [...document.querySelectorAll("figure svg, figure img")].map(e => e.getBoundingClientRect());
        document.body.dataset.seen = JSON.stringify({
            drawn: boxes.filter(b => b.width > 100 && b.height > 50).length, all: boxes.length,
            overflow: document.documentElement.scrollWidth - innerWidth });
    })</script>"""
    policy = "default-src 'none';"
    assert policy in report.read_text(), "no script of its own runs"
    page = report.read_text().replace(policy, f"{policy} script-src 'nonce-probe';")
    probe.write_text(page.replace("</body>", f"{script}</body>"))
    shell = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'user'}", f"--window-size={width},2000", "--dump-dom", probe.as_uri(),
    ]  # fmt: skip
    result = subprocess.run(shell, capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in result.stderr
    found = re.search(r'data-seen="([^"]*)"', result.stdout)
    assert found, "the page did not load"
    seen = json.loads(found[1].replace("&quot;", '"'))
    assert seen["drawn"] == seen["all"] == 10
    assert seen["overflow"] <= 0
