"""A study from Python."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import cifar100x
from cifar100x.data.synthetic import draw
from cifar100x.errors import UserError
from cifar100x.runs.directory import RunDirectory
from tests.test_study import read_csv


@pytest.fixture
def study(compared_study, monkeypatch):
    monkeypatch.chdir(compared_study)
    return cifar100x.open_study("runs/default")


def test_tables_are_those_of_the_report_and_more(study):
    for name in ("table1", "pairs", "calibration", "early-stopping", "differences"):
        header, *rows = read_csv(Path(f"runs/default/report/{name}.csv"))
        frame = pd.DataFrame(study.tables[name], columns=header)
        assert len(frame) == len(rows)
        for found, written in zip(frame.itertuples(index=False), rows, strict=True):
            assert ["" if value is None else str(value) for value in found] == written or np.allclose(
                [float(v) for v in found if isinstance(v, float)],
                [float(w) for v, w in zip(found, written, strict=True) if isinstance(v, float)],
                equal_nan=True,
            )
    folds = pd.DataFrame(study.tables["folds"])
    run = RunDirectory(Path("runs/default/arch2-hyp1/fold1"))
    row = folds[(folds.model == "arch2-hyp1") & (folds.fold == 1)].iloc[0]
    assert row.val_accuracy == run.metrics["val"]["accuracy"]
    history = pd.DataFrame(study.tables["history"])
    assert len(history) == 2 * 2 * 2
    confusions = pd.DataFrame(study.tables["confusions"])
    wrong = 200 - 200 * folds.groupby("model").val_accuracy.mean()
    assert confusions.groupby("model")["count"].sum().to_dict() == pytest.approx(wrong.to_dict())
    superclasses = pd.DataFrame(study.tables["superclasses"])
    assert superclasses.groupby("model").size().to_dict() == {"arch1-hyp1": 20, "arch2-hyp1": 20}


def test_verdict_and_pairs(study):
    assert study.candidates == ["arch1-hyp1", "arch2-hyp1"]
    assert study.verdict["chosen"] in study.candidates
    assert f"{study.verdict['chosen']} is the one to choose" in study.verdict["answer"][0]
    assert [(p["model_a"], p["model_b"]) for p in study.pairs] == [("arch1-hyp1", "arch2-hyp1")]
    assert study.power(4) < study.power(1)


def test_a_network_ready_for_use(study):
    network = study.network("arch1-hyp1", fold=1)
    said = RunDirectory(Path("runs/default/arch1-hyp1/fold1")).predictions
    probabilities = network(draw(2, 0).images[said.index])
    odds = np.exp(said.logits.astype(float))
    np.testing.assert_allclose(probabilities, odds / odds.sum(1, keepdims=True), rtol=0.02)
    both = study.network("arch1-hyp1")(draw(2, 0).images[:3])
    each = [study.network("arch1-hyp1", fold=fold)(draw(2, 0).images[:3]) for fold in (0, 1)]
    np.testing.assert_allclose(both, np.mean(each, axis=0))
    np.testing.assert_array_equal(both, study.network("arch1-hyp1")(torch.from_numpy(draw(2, 0).images[:3])))
    assert len(network.names) == 100
    with pytest.raises(UserError, match=r"images are float64 \(1, 3, 32, 32\), expected uint8"):
        network(np.zeros((1, 3, 32, 32)))
    with pytest.raises(UserError, match="runs/default has no candidate 'arch1-hyp'; did you mean 'arch1-hyp1'"):
        study.network("arch1-hyp")
    with pytest.raises(UserError, match="runs/default/final is no finished run"):
        study.network()


def test_opening_changes_nothing_and_says_what_is_not_there(study):
    before = {file: file.stat().st_mtime_ns for file in Path("runs").rglob("*") if file.is_file()}
    assert cifar100x.open_study("runs/default").tables
    assert before == {file: file.stat().st_mtime_ns for file in Path("runs").rglob("*") if file.is_file()}
    with pytest.raises(UserError, match="there is no study runs/t; there are default"):
        cifar100x.open_study("runs/t")


LIGHT = """
import sys
import cifar100x
print(sorted({"torch", "lightning", "numpy", "hydra"} & set(sys.modules)))
cifar100x.open_study
print(sorted({"lightning", "torchmetrics", "matplotlib"} & set(sys.modules)))
"""


def test_the_package_itself_is_light():
    """And so is what looks at trained networks."""
    assert subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True).stdout == "[]\n[]\n"
