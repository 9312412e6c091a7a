"""The project's own results: the page says what the files say, and the files are whole."""

import re

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from cifar100x.report.page import PAPER
from cifar100x.runs.finished import finished_results
from cifar100x.runs.result import Predictions, accuracy
from cifar100x.runs.study import Study
from results import build
from results.collect import collect, compact
from tests.test_study import hand_made_study

RUNS = build.HERE / "runs"


def test_the_page_is_made_of_the_files():
    studies = build.opened(RUNS)
    assert (build.HERE / "README.md").read_text() == build.page(studies, build.rows_of(studies))
    template = re.sub(r"{{.*?}}|{%.*?%}|```.*?```", "", (build.HERE / "page.md.jinja").read_text(), flags=re.DOTALL)
    assert not re.search(r"\d\.\d|\d%", template), "no number of a result is written by hand"


def test_runs_hold_what_is_kept_and_nothing_else():
    runs = [run for name in build.STUDIES for run in Study(RUNS / name).all_runs()]
    assert runs
    for run in runs:
        assert run.result.metrics["environment"]["commit"]
        assert not list(run.path.rglob("*.ckpt"))
    assert not [path for path in RUNS.rglob("*.yaml") if re.search(r"(^|[ '\"\[])/", path.read_text())], "no folder"


def test_compact_predictions_say_the_same():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 100, 2000)
    logits = (4 * generator.normal(size=(2000, 100))).astype(np.float32)
    logits[np.arange(2000), labels] += 5
    whole = Predictions(np.arange(2000), labels, logits)
    small = compact(whole)
    assert accuracy(small) == accuracy(whole)
    np.testing.assert_array_equal(small.logits.argmax(1), logits.argmax(1))
    for found, expected in zip(*(
        (softmax(x.astype(float), axis=1).max(1), -log_softmax(x.astype(float), axis=1)[np.arange(2000), labels])
        for x in (small.logits, logits)
    ), strict=True):  # fmt: skip
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


def test_what_is_collected_is_compared_as_before(tmp_path):
    hand_made_study(tmp_path / "whole", {"a": 0.3, "b": 0.4}, num_folds=2, data={"source": "/secret/place/images.tar"})
    pretraining = Study(tmp_path / "whole").pretraining()
    with pretraining.session({"task": "pretraining", "data": {"source": ["/secret/place/train.zip"]}}):
        pretraining.record({"data": {"origins": {"/secret/place/train.zip: pickles": 7}}})
    assert len(collect(Study(tmp_path / "whole"), Study(tmp_path / "kept"))) == 5
    for name, num_folds in (("whole", 2), ("kept", 3)):
        agreement = Study(tmp_path / name).agreement
        agreement.settle({})
        agreement.count_look(num_folds)
    assert collect(Study(tmp_path / "whole"), Study(tmp_path / "kept")) == []
    assert Study(tmp_path / "kept").agreement.num_looks(2) == 2, "both are remembered"
    whole, kept = (finished_results(Study(tmp_path / name)) for name in ("whole", "kept"))
    for model, results in kept.items():
        for ours, theirs in zip(results, whole[model], strict=True):
            assert accuracy(ours.predictions) == pytest.approx(accuracy(theirs.predictions))
            assert ours.config["data"]["source"] == "images.tar"
    assert Study(tmp_path / "kept").pretraining().metrics["data"] == {"origins": {"train.zip: pickles": 7}}
    texts = [path.read_text() for kind in ("*.yaml", "*.json") for path in (tmp_path / "kept").rglob(kind)]
    assert "/secret" not in "".join(texts)


def test_the_readme_says_what_the_files_say():
    """Its first screen is written by hand; the numbers in it are those of the page."""
    readme, page = ((folder / "README.md").read_text() for folder in (build.HERE.parent, build.HERE))
    screen = readme[: readme.index("## ")]
    assert "results/runs/operations.svg" in screen
    for number in re.findall(r"(\d+\.\d)%", screen):
        assert any(f"{float(found):.1f}" == number for found in re.findall(r"(\d+\.\d+)%", page)), number
    for number in re.findall(r"\d+,\d+", screen):
        assert number in page


def test_what_the_page_says_of_fold_0_in_words():
    found = {run.path.parent.name: run.metrics["val"]["accuracy"] for run in Study(RUNS / build.ON_GPU).all_runs()}
    in_order = ["arch1-hyp1", "arch2-hyp1", "arch1-hyp2", "arch2-hyp2"]
    for numbers in (found, {name: means[0] for name, means in PAPER.items()}):
        assert sorted(in_order, key=numbers.__getitem__) == in_order
    assert all(0 < found[name] - PAPER[name][0] < 0.03 for name in in_order), "a little above the paper's means"
    assert found["t-arch1"] > max(found["arch1-hyp1"], found["arch2-hyp1"])
    assert PAPER["t-arch1"][0] < min(PAPER[name][0] for name in in_order)
