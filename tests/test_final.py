"""The end of a study: the chosen model on all images, the test split looked at once."""

import io
import json
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from cifar100x import compare, final
from cifar100x.app.parts import make_net
from cifar100x.data.synthetic import draw
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.networks import classifiers, load_network
from tests.conftest import TESTED, TINY, in_folder, unseal

FINAL = RunDirectory(Path("runs/default/final"))


@pytest.fixture(scope="module")
def judged_study(compared_study, tmp_path_factory, cache) -> tuple[Path, str]:
    """A folder with a study whose chosen model was trained on all images and looked at, and what was said."""
    folder = tmp_path_factory.mktemp("judged")
    shutil.copytree(compared_study / "runs", folder / "runs")
    out = io.StringIO()
    with in_folder(folder, cache) as run, redirect_stdout(out):
        run(final.main, "study=default")
    return folder, out.getvalue()


@pytest.fixture
def said(judged_study, tmp_path, monkeypatch) -> str:
    """A copy of it for one test, in the current folder, and what was said."""
    folder, out = judged_study
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "runs", tmp_path / "runs")
    return out


def accuracy(nets, split):
    images = torch.from_numpy(split.images)
    with torch.no_grad():
        probabilities = sum(net(images).softmax(1) for net in nets)
    return (probabilities.argmax(1).numpy() == split.fine).mean()


def test_the_chosen_model_is_judged_on_the_test_split(said, compare_command):
    chosen = json.loads(Path("runs/default/report/verdict.json").read_text())["chosen"]
    metrics = FINAL.metrics
    assert (metrics["model"], metrics["fold"], metrics["test_looks"]) == (chosen, None, 1)
    assert (metrics["train"]["count"], metrics["test"]["count"]) == (200, 100)
    test = draw(1, 0, stream=1)
    assert metrics["test"]["accuracy"] == pytest.approx(accuracy([load_network(FINAL, make_net)], test))
    folds = [load_network(RunDirectory(Path(f"runs/default/{chosen}/fold{k}")), make_net) for k in (0, 1)]
    assert metrics["test_ensemble"]["accuracy"] == pytest.approx(accuracy(folds, test))
    assert "looked at once" in said
    assert [set(row) for row in FINAL.history] == [
        {"epoch", "train_accuracy", "train_cross_entropy", "learning_rate", "seconds"}
    ] * 2, "the test split is not looked at while training"
    status, out, _ = compare_command("study=default")
    assert status == 0
    assert f"{metrics['test']['accuracy']:.2%}" in out
    assert f"{metrics['test_ensemble']['accuracy']:.2%}" in out
    assert "looked at once" in Path("runs/default/report/report.html").read_text()


def test_a_second_look_must_be_asked_for_and_is_counted(said, command):
    before = FINAL.metrics
    status, out, _ = command(final.main, "study=default")
    assert status == 0
    assert out.startswith("skipped, already finished")
    assert FINAL.metrics == before
    assert "looked at 2 times" in command(final.main, "study=default", "again=true")[1]
    assert FINAL.metrics == before | {"test_looks": 2, "test_looks_of_data": before["test_looks_of_data"] + 1}


def test_deleting_a_study_s_final_run_makes_no_look_undone(compared_study, command):
    shutil.copytree(compared_study / "runs", "runs")
    assert "looked at once" in command(final.main, "study=default")[1]
    shutil.rmtree(FINAL.path)
    assert "looked at 2 times" in command(final.main, "study=default")[1]


def test_a_look_keeps_what_was_predicted(said):
    test, metrics = draw(1, 0, stream=1), FINAL.metrics
    with np.load(FINAL.path / "test.npz") as kept:
        np.testing.assert_array_equal(kept["label"], test.fine)
        assert (kept["logits"].argmax(1) == test.fine).mean() == pytest.approx(metrics["test"]["accuracy"])
        assert (kept["ensemble"].argmax(1) == test.fine).mean() == pytest.approx(metrics["test_ensemble"]["accuracy"])
    page = Path("runs/default/report/report.html").read_text()
    assert "not looked at" not in page
    assert 'id="test-confusion"' in page
    assert 'id="test-reliability"' in page


def test_a_look_is_credited_to_the_model_that_was_looked_at(said, compare_command):
    chosen = FINAL.metrics["model"]
    other = {"arch1-hyp1": "arch2-hyp1", "arch2-hyp1": "arch1-hyp1"}[chosen]
    with FINAL.amending():
        FINAL.record({**FINAL.metrics, "model": other})
    status, out, _ = compare_command("study=default")
    assert status == 0
    assert f"On the test split {other}, trained on all images" in out.replace("\n", " ")
    page = Path("runs/default/report/report.html").read_text()
    assert f"On the test split {other}, trained on all images" in page
    assert f"The verdict has changed since: it now chooses {chosen}" in page


def test_all_images_are_trained_on(said):
    """Two epochs of four batches of 50; the permutation of the first is the one of (seed, fold, epoch)."""
    assert FINAL.metrics["steps"] == 8
    assert np.isfinite(FINAL.metrics["train"]["cross_entropy"])


def test_a_study_that_goes_on_and_was_trained_on_several_devices(compared_study, train_command, command):
    """The final network is trained on this machine, and only the folds that are compared vote."""
    shutil.copytree(compared_study / "runs", "runs")
    chosen = json.loads(Path("runs/default/report/verdict.json").read_text())["chosen"]
    for fold in (0, 1):
        run = RunDirectory(Path(f"runs/default/{chosen}/fold{fold}"))
        unseal(run)
        config = run.config
        config["trainer"] |= {"accelerator": "gpu", "devices": 2}
        (run.path / "config.yaml").write_text(yaml.safe_dump(config))
    diverging = ("folds.repeats=2", "fold=2", f"model={chosen.split('-')[0]}", "learning_rate=1e15")
    assert "the loss is" in train_command(*TESTED, *diverging)[2]
    status, _, err = command(final.main, "study=default")
    assert (status, err) == (0, "")
    assert FINAL.is_done
    assert [run.path.name for run in classifiers(Path("runs/default", chosen))] == ["fold0", "fold1"]


def test_without_a_verdict(command):
    assert command(final.main, "study=default")[2] == "error: there is no study runs/default; there is none\n"
    Path("runs/default").mkdir(parents=True)
    status, out, err = command(final.main, "study=default")
    assert (status, out) == (1, "")
    assert "runs/default/report/verdict.json is absent: compare the study first" in err


def test_data_without_a_test_split(train_command, compare_command, command):
    assert train_command(*TINY, "-m", "fold=0,1")[0] == 0
    assert compare_command("study=default")[0] == 0
    status, _, err = command(final.main, "study=default")
    assert status == 1
    assert "has no 'test' split (it has train)" in err
    assert not FINAL.path.exists(), "told before anything is trained"


def test_a_verdict_on_fewer_seeds_than_there_are_is_none(compared_study, tmp_path, command):
    shutil.copytree(compared_study / "runs", "runs")
    path = Path("runs/default/report/verdict.json")
    verdict = json.loads(path.read_text())
    assert (verdict["folds"], verdict["runs"]) == (2, 2)
    path.write_text(json.dumps(verdict | {"runs": 1}))
    status, _, err = command(final.main, "study=default")
    assert (status, "tells of another number of runs (1) than there are (2)" in err) == (1, True), err


def test_a_verdict_on_fewer_folds_than_there_are_is_none(compared_study, tmp_path, command):
    """Neither one that was taken on purpose nor one of a study that goes on; the test split is not looked at."""
    shutil.copytree(compared_study / "runs", "runs")
    assert command(compare.main, "study=default", "folds=1")[0] == 0
    status, _, err = command(final.main, "study=default")
    assert (status, err) == (
        1,
        "error: runs/default/report tells of another number of folds (1) than there are (2): compare the study first "
        "(cifar100x.compare study=default)\n",
    )
    shutil.rmtree("runs/default/arch1-hyp1/fold1")
    status, _, err = command(final.main, "study=default")
    assert status == 1
    assert "arch1-hyp1 lacks fold 1" in err
    assert not FINAL.path.exists()
