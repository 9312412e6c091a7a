"""The commands of README and docs/: those marked as runnable run on tiny data, all others compose."""

import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON = ["python", "-m"]


def blocks(runnable: bool) -> list:
    """The shell blocks of all pages, as lists of commands, each a list of words."""
    found = []
    for page in PAGES:
        for mark, text in re.findall(r"^```sh( runnable)?\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            if bool(mark) == runnable:
                lines = text.replace("\\\n", " ").splitlines()
                commands = [shlex.split(line, comments=True) for line in lines]
                found.append(pytest.param(commands, id=f"{page.stem}: {lines[0]}"))
    return found


def test_every_page_is_linked_and_every_link_leads_somewhere():
    links = {page: re.findall(r"\]\(([^)#:]+)\)", page.read_text()) for page in PAGES}
    assert {ROOT / link for link in links[ROOT / "README.md"] if link.endswith(".md")} == set(PAGES[1:])
    for page, found in links.items():
        for link in found:
            assert (page.parent / link).exists(), f"{page.name} links {link}"


@pytest.fixture(autouse=True)
def own_network(tmp_path, monkeypatch):
    """The files that the pages tell their reader to write."""
    pages = "".join(page.read_text() for page in PAGES)
    for name, text in re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", pages, re.MULTILINE | re.DOTALL):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mynets", None)


@pytest.mark.parametrize("commands", blocks(runnable=True))
def test_runnable_blocks_run(commands, command):
    for words in commands:
        assert words[:2] == PYTHON
        status, _, err = command(import_module(words[2]).main, *words[3:])
        assert (status, err) == (0, "")


@pytest.mark.parametrize("commands", blocks(runnable=False))
def test_other_commands_compose(commands, command):
    for words in commands:
        if words[0] == "make":
            subprocess.run([*words, "--dry-run"], cwd=ROOT, check=True, capture_output=True)
            for variable, value in (word.split("=", 1) for word in words[1:] if "ARGS" in word):
                compose(command, "cifar100x.train", of_make(variable, words) + shlex.split(value))
        else:
            assert words[:2] == PYTHON
            compose(command, words[2], words[3:])


def of_make(variable, words):
    """The experiment that a make target runs."""
    preset = next(word.removeprefix("PRESET=") for word in words if word.startswith("PRESET="))
    return [f"experiment={'pretrain-' if variable == 'PRETRAIN_ARGS' else ''}{preset}"]


def compose(command, module, arguments):
    main = import_module(module).main
    if module in ("cifar100x.predict", "cifar100x.export"):  # they read their arguments, then find nothing there
        status, _, err = command(main, *arguments)
        assert status == 1
        assert "is neither a run" in err or "does not exist" in err
        return
    status, out, err = command(main, *(first_values(arguments)), "--cfg", "job")
    assert (status, err) == (0, "")
    assert "study: " in out


def first_values(arguments):
    """A sweep as its first run."""
    parser = OverridesParser.create()
    for argument in arguments:
        if argument.startswith("--") or "=" not in argument:
            yield from [argument] if argument != "-m" else []
        else:
            (override,) = parser.parse_overrides([argument])
            swept = override.is_sweep_override()
            yield f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}" if swept else argument
