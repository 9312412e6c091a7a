"""The whole thing small: a sweep, the comparison of it, and every experiment in conf/."""

import csv
import json
import re
import shutil
from pathlib import Path

import hydra
import numpy as np
import pytest

import cifar100x
from cifar100x.app.configs import CONF, plain
from cifar100x.app.parts import make_net
from cifar100x.errors import UserError
from cifar100x.nets.conv import ConvNet
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.finished import finished_runs
from cifar100x.runs.result import Predictions
from cifar100x.runs.study import Folds, Study
from tests.conftest import TESTED, TINY, TINY_PRETRAINING, unseal
from tests.verdict.test_statistics import TABLE_1, TABLE_2_FIRST_ROW

EXPERIMENTS = sorted(
    path.relative_to(CONF / "experiment").with_suffix("") for path in (CONF / "experiment").rglob("*.yaml")
)
PAPER_MODELS = [
    "arch1-hyp1",
    "arch1-hyp2",
    "arch1-hyp3",
    "arch2-hyp1",
    "arch2-hyp2",
    "arch2-hyp3",
    "t-arch1",
    "t-arch2",
]


FIGURES = (
    "accuracy", "cost", "confusion", "superclass-confusion", "learning-curves", "superclasses", "reliability", "forest",
    "confused-pairs",
)  # fmt: skip


def runs_of(study, num_folds):
    return [[RunDirectory(p / f"fold{k}") for k in range(num_folds)] for p in sorted(Path(study).glob("arch*"))]


def read_csv(path):
    with path.open() as file:
        return list(csv.reader(file))


ONE = (*TESTED, "learning_rate=1e-2")
"""What the compared study is made of."""


@pytest.fixture
def two_models(compared_study, command):
    """The runs of two models on two folds, not compared yet."""
    shutil.copytree(compared_study / "runs", "runs")
    shutil.rmtree("runs/default/report")


def test_sweep_and_compare(train_command, compare_command):
    assert train_command(*TINY, "-m", "study=small", "model=arch1,arch2", "fold=0,1")[0] == 0
    status, out, err = compare_command("study=small")
    assert (status, err) == (0, "")
    report = Path("runs/small/report")
    tables = {
        "table1.csv",
        "differences.csv",
        "bounds.csv",
        "pairs.csv",
        "calibration.csv",
        "eliminated.csv",
        "early-stopping.csv",
    }
    drawn = {f"{name}.{kind}" for name in FIGURES for kind in ("svg", "csv")}
    assert {p.name for p in report.iterdir()} - {".lock"} == tables | drawn | {"verdict.json", "report.html"}
    assert f"wrote {report}/report.html" in out

    table = read_csv(report / "table1.csv")
    assert table[0] == ["model", "accuracy_mean", "accuracy_low", "accuracy_high", "cross_entropy_mean", "folds"]
    for model, mean, low, high, cross_entropy, folds in table[1:]:
        runs = [RunDirectory(Path("runs/small") / model / f"fold{k}").metrics for k in (0, 1)]
        assert float(mean) == pytest.approx(np.mean([m["val"]["accuracy"] for m in runs]))
        assert float(cross_entropy) == pytest.approx(np.mean([m["val"]["cross_entropy"] for m in runs]))
        assert float(low) <= float(mean) <= float(high)
        assert folds == "2"
    verdict = json.loads((report / "verdict.json").read_text())
    assert verdict["chosen"] in ("arch1-hyp1", "arch2-hyp1")
    assert f"{verdict['chosen']} is the one to choose" in out
    pair = dict(zip(*read_csv(report / "pairs.csv"), strict=True))
    accuracies = [[m.metrics["val"]["accuracy"] for m in of] for of in runs_of("runs/small", 2)]
    difference = np.subtract(*accuracies)
    assert (pair["model_a"], pair["model_b"]) == ("arch1-hyp1", "arch2-hyp1")
    assert float(pair["difference"]) == pytest.approx(difference.mean())
    assert float(pair["t"]) == pytest.approx(difference.mean() / np.sqrt(difference.var(ddof=1) * (1 / 2 + 1)))
    assert float(pair["paper_bound"]) == pytest.approx(float(read_csv(report / "bounds.csv")[1][2]))
    assert float(pair["prob_a"]) + float(pair["prob_same"]) + float(pair["prob_b"]) == pytest.approx(1)


def test_repeated_cross_validation(two_models, train_command):
    """Two permutations of two folds: folds 2 and 3 are those of the next seed; the first two stay as they were."""
    status, out, _ = train_command(*ONE, "-m", "model=arch1,arch2", "folds.repeats=2", "fold=0,1,2,3")
    assert status == 0
    assert "4 of 8 runs are finished already" in out
    third = RunDirectory(Path("runs/default/arch1-hyp1/fold2"))
    np.testing.assert_array_equal(third.predictions.index, np.random.RandomState(43).permutation(200)[:100])
    (pair,) = cifar100x.open_study("runs/default").pairs
    difference = np.subtract(*[[r.metrics["val"]["accuracy"] for r in of] for of in runs_of("runs/default", 4)])
    rounding = 2 / (12 * 100**2)  # less variance is not believed
    error = np.sqrt(max(difference.var(ddof=1), rounding) * (1 / 4 + 1))  # Nadeau and Bengio with 2 x 2 folds
    assert pair["t"] == pytest.approx(difference.mean() / error)
    status, _, err = train_command(*ONE, "fold=4", "folds.repeats=2")
    assert (status, err) == (1, "error: fold is 4, expected 0..3\n")


def test_seeds_within_a_fold_count_as_their_mean(two_models, train_command):
    """Two folds, trained again under other seeds: folds 2 and 3 hold out the images of folds 0 and 1."""
    assert train_command(*ONE, "-m", "model=arch1,arch2", "folds.seeds=2", "fold=0,1,2,3")[0] == 0
    first, again = (RunDirectory(Path(f"runs/default/arch1-hyp1/fold{fold}")).predictions for fold in (0, 2))
    np.testing.assert_array_equal(first.index, again.index)
    assert not np.array_equal(first.logits, again.logits)
    opened = cifar100x.open_study("runs/default")
    assert "2 seeds a fold" in opened.comparison.in_common
    accuracies = np.array([[r.metrics["val"]["accuracy"] for r in of] for of in runs_of("runs/default", 4)])
    difference = np.subtract(*accuracies.reshape(2, 2, 2).mean(axis=1))
    (pair,) = opened.pairs
    rounding = 2 / (12 * 200**2)  # less variance is not believed; both networks may be right equally often
    error = np.sqrt(max(difference.var(ddof=1), rounding) * (1 / 2 + 1))
    assert pair["t"] == pytest.approx(difference.mean() / error)
    right = [
        np.mean([of[k].predictions.logits.argmax(1) == of[k].predictions.label for k in (0, 2)], axis=0).sum()
        + np.mean([of[k].predictions.logits.argmax(1) == of[k].predictions.label for k in (1, 3)], axis=0).sum()
        for of in runs_of("runs/default", 4)
    ]
    assert pair["only_a"] - pair["only_b"] == pytest.approx(np.subtract(*right))


def test_folds_of_some_seeds_alone_are_not_compared(tmp_path):
    """Two folds under two seeds, cut twice: the first cut's of one seed, or of both; 3 runs would be neither."""
    path = tmp_path / "s"
    images = np.arange(8).reshape(4, 2)
    Study(path).share_folds(Folds(list(images[[0, 1, 0, 1, 2, 3, 2, 3]]), "fingerprint"))
    for fold in range(8):
        run = Study(path).run("a", fold)
        metrics, history, predictions = hand_made_result("a", fold, 0.5, Study(path).folds[fold])
        with run.session({"task": "classification", "model": {"name": "a"}, "fold": fold}):
            run.write_history(history)
            run.record(metrics, predictions)
    for folds in (1, 2, 4, None):
        assert len(finished_runs(Study(path), folds)["a"]) == (folds or 8)
    for folds in (0, 3, 5):
        with pytest.raises(UserError, match=rf"folds is {folds}, expected 1..2, or all 2 of 2..2 seeds"):
            finished_runs(Study(path), folds)
    (path / "a/fold3/status.json").unlink()
    with pytest.raises(UserError, match=r"a lacks fold 3 .*; folds=2 compares what all have"):
        finished_runs(Study(path))


def test_a_second_repetition_counts_once_all_have_it(compare_command):
    hand_made_study(Path("runs/default"), {"arch1-hyp1": 0.3, "arch2-hyp1": 0.4}, num_folds=2, repeats=2)
    last = Path("runs/default/arch2-hyp1/fold3/status.json")
    done = last.read_text()
    last.write_text(json.dumps({"state": "running"}))
    assert compare_command("study=default")[0] == 0
    assert json.loads(Path("runs/default/report/verdict.json").read_text())["folds"] == 2
    last.write_text(done)
    assert compare_command("study=default")[0] == 0
    assert json.loads(Path("runs/default/report/verdict.json").read_text())["folds"] == 4
    page = Path("runs/default/report/report.html").read_text()
    assert "This is verdict 2 on a growing number of folds, where 1 was agreed on" in page
    assert json.loads(Path("runs/default/study.json").read_text())["looks"] == [2, 4]
    assert "This is verdict 2" in " ".join(cifar100x.open_study("runs/default").verdict["answer"]), (
        "by the Python API, too"
    )
    shutil.rmtree("runs/default/arch2-hyp1/fold1")
    status, _, err = compare_command("study=default")
    assert status == 1
    assert "arch2-hyp1 lacks fold 1 (never started): train them first" in err


def test_a_baseline_that_there_is_not_is_not_put_on_record(compare_command):
    """Of a study whose runs, of an earlier version, have agreed on nothing."""
    hand_made_study(Path("runs/default"), {"a": 0.3, "b": 0.4, "c": 0.5}, num_folds=2)
    assert compare_command("study=default", "baseline=aa")[0] == 1
    assert not Path("runs/default/study.json").exists()
    assert compare_command("study=default", "baseline=a")[0] == 0
    survives = json.loads(Path("runs/default/report/verdict.json").read_text())["survives_correction"]
    assert survives == {"a": True, "b": None}, "c against b was not tested"
    assert "c beats b: was not tested." in Path("runs/default/report/report.html").read_text()


def test_equals_are_called_so(compare_command):
    hand_made_study(Path("runs/default"), {"a": 0.4, "b": 0.4}, num_folds=2)
    assert "is the first by name of equals" in " ".join(compare_command("study=default")[1].split())


def test_what_differs_between_candidates_is_not_told_of_the_first_alone(compare_command):
    """One network in two ways: only what is not one thing is called mixed up."""
    one = {"model": {"name": "net"}}
    hand_made_study(Path("runs/default"), {"a": 0.3}, num_folds=2, **one, data={"batch_size": 50, "reshuffle": False})
    hand_made_study(Path("runs/default"), {"b": 0.4}, num_folds=2, **one, data={"batch_size": 64, "reshuffle": False})
    hand_made_study(Path("runs/default"), {"c": 0.2}, num_folds=2, **one, data={"batch_size": 50, "reshuffle": True},
                    learning_rate=0.1)  # fmt: skip
    status, out, err = compare_command("study=default")
    assert (status, err) == (0, "")
    assert "From c it differs in more than one thing (learning rate, batch size, reshuffling)" in " ".join(out.split())
    page = Path("runs/default/report/report.html").read_text()
    assert "learning rate 0.0001, 0.1" in page
    assert "Batches of c were drawn anew every epoch" in page
    assert "batch size 64" in page


def test_on_one_fold_nothing_is_decided(train_command, compare_command):
    """Where only the first fold was trained: described, with each pair's images, and no verdict is counted."""
    assert train_command(*TINY, "-m", "model=arch1,arch2", "fold=0")[0] == 0
    status, _, err = compare_command("study=default")
    assert (status, "arch1-hyp1 lacks fold 1 (never started): train them first" in err) == (1, True)
    assert err.endswith("; folds=1 compares what all have\n")
    status, out, err = compare_command("study=default", "folds=1")
    assert (status, err) == (0, "")
    assert "1 of 2 folds" in " ".join(out.split())
    assert "and nothing is decided" in " ".join(out.split())
    assert "inf" not in out
    page = Path("runs/default/report/report.html").read_text()
    assert re.search(r"\b(inf|nan)\b", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)) is None
    pair = dict(zip(*read_csv(Path("runs/default/report/pairs.csv")), strict=True))
    a, b = (RunDirectory(Path(f"runs/default/{m}/fold0")).predictions for m in ("arch1-hyp1", "arch2-hyp1"))
    right_a, right_b = (p.logits.argmax(1) == p.label for p in (a, b))
    assert (pair["outcome"], float(pair["only_a"])) == ("undecided", (right_a & ~right_b).sum())
    assert json.loads(Path("runs/default/study.json").read_text())["looks"] == []
    assert cifar100x.open_study("runs/default", folds=1).tables["table1"][0]["folds"] == 1
    status, _, err = compare_command("study=default", "folds=3")
    assert (status, err) == (1, "error: folds is 3, expected 1..2\n")


def test_one_candidate_under_two_seeds_is_a_control(train_command):
    sweep = ["-m", "fold=0,1", "trainer.max_epochs=1"]
    assert train_command(*TINY, *sweep, "seed=42,43", "name=arch1-seed${seed}")[0] == 0
    assert train_command(*TINY, *sweep, "model=arch2")[0] == 0
    said = cifar100x.open_study("runs/default").verdict["answer"]
    assert any("A/A control: arch1-seed42 and arch1-seed43 are one candidate under two seeds" in s for s in said)


def test_terms_that_are_put_on_record_when_results_are_there(two_models, compare_command):
    """As when study.json is deleted, to name others."""
    said = "nothing shows that it was agreed on before."
    assert said not in " ".join(cifar100x.open_study("runs/default").verdict["answer"])
    Path("runs/default/study.json").unlink()
    for options in (("rope=0.5",), ()):
        status, out, _ = compare_command("study=default", *options)
        assert (status, said in " ".join(out.split())) == (0, True)
    assert json.loads(Path("runs/default/study.json").read_text())["late"] is True


def test_a_baseline_that_is_not_there_yet_is_told(train_command):
    note = "note: there is no run of arch9 yet, the baseline of runs/default\n"
    assert train_command(*TINY, "baseline=arch9")[::2] == (0, note)


def test_how_a_study_is_judged_is_fixed_by_its_first_run(train_command, compare_command):
    sweep = ("-m", "fold=0,1", "model=arch1,arch2", "rope=0.02")
    status, _, err = train_command(*TINY, *sweep, "baseline=arch1")
    told = "error: baseline is arch1, expected a candidate of this sweep or its study: arch1-hyp1, arch2-hyp1\n"
    assert (status, err, Path("runs").exists()) == (1, told, False)
    assert train_command(*TINY, *sweep, "baseline=arch1-hyp1")[0] == 0
    terms = {"rope": 0.02, "variances": "own", "looks": 1, "baseline": "arch1-hyp1"}
    assert json.loads(Path("runs/default/study.json").read_text())["terms"] == terms
    assert train_command(*TINY, "-m", "fold=0,1", "width=hyp2")[0] == 0, "a later run need not repeat it"
    message = (
        "runs/default is to be judged as its first run had it, which differs in rope (0.02 there, 0.03 now): what is "
        "decided by cannot change when results are known; leave it out, or choose another study=NAME"
    )
    assert train_command(*TINY, "model=arch2", "width=hyp3", "rope=0.03") == (1, "", f"error: {message}\n")
    assert compare_command("study=default", "rope=0.03")[::2] == (1, f"error: {message}\n")
    assert compare_command("study=default")[0] == 0
    assert json.loads(Path("runs/default/report/verdict.json").read_text())["terms"] == terms
    rows = read_csv(Path("runs/default/report/pairs.csv"))
    tested = {row[0:2] == ["arch1-hyp1", row[1]]: row[rows[0].index("p_holm")] != "" for row in rows[1:]}
    assert tested == {True: True, False: False}, "pairs without the baseline are not tested"
    assert train_command(*TINY, "study=else", "rope=2")[::2] == (
        1, "error: rope is 2, expected a fraction, from 0 to below 1 (0.01 is one point)\n"
    )  # fmt: skip


def test_all_candidates_are_one_sweep(train_command):
    assert train_command(*TINY_PRETRAINING, "study=all")[0] == 0
    sweep = ["candidate=glob(*)", "study=all", "trainer.max_epochs=1"]
    status, out, err = train_command(*TINY, "-m", *sweep)
    assert (status, err) == (0, "")
    assert "all: 9 done" in out
    assert sorted(path.parents[1].name for path in Path("runs/all").glob("*/fold0/metrics.json")) == sorted(
        [*PAPER_MODELS, "resnet20"]
    )


IMAGES = 10000  # of a fold whose accuracies have four digits


def hand_made_study(path, accuracies, num_folds=5, repeats=1, images=1000, **config):
    """A study whose runs have these accuracies on every fold, without training anything."""
    folds = np.arange(images * num_folds * repeats).reshape(-1, images)
    Study(path).share_folds(Folds(list(folds), "fingerprint"))
    for model, accuracy in accuracies.items():
        for fold in range(num_folds * repeats):
            metrics, history, predictions = hand_made_result(model, fold, accuracy, folds[fold], num_folds)
            run = Study(path).run(model, fold)
            run.path.mkdir(parents=True, exist_ok=True)
            run.write_history(history)
            chosen = {"task": "classification", "model": {"name": model}, "fold": fold, "learning_rate": 1e-4, **config}
            with run.session(chosen):
                run.record(metrics, predictions)


def hand_made_result(model, fold, accuracy, indices, num_folds=2):
    """Metrics, history and predictions of a run that never was, on these images, all of class 0 of two."""
    metrics = {"study": "s", "model": model, "reading": "reported", "fold": fold, "folds": num_folds,
               "seed": 42, "parameters": 1, "epochs": 50, "data": {"name": "none", "fingerprint": "f"},
               "val": {"accuracy": accuracy, "cross_entropy": 5.0, "count": len(indices)}, "train_seconds": 1.0,
               "train": {"accuracy": 0.9, "cross_entropy": 0.1, "count": 4},
               "environment": {"commit": None, "dirty": None, "torch": "2", "lightning": "2", "device": "none",
                               "threads": 1, "precision": "float32"}}  # fmt: skip
    history = [{"epoch": 1, **{f"{s}_{m}": 1.0 for s in ("train", "val") for m in ("accuracy", "cross_entropy")}}]
    right = np.arange(len(indices)) < round(accuracy * len(indices))
    logits = np.stack([right, ~right], axis=1).astype(np.float32)
    return metrics, history, Predictions(indices, np.zeros(len(indices), int), logits)


def test_the_paper_s_own_tables(compare_command, tmp_path):
    """Runs with the accuracies of the paper's Table I give the paper's Table II and its winner."""
    hand_made_study(tmp_path / "runs" / "paper", dict(zip(PAPER_MODELS, TABLE_1, strict=True)), images=IMAGES)
    assert compare_command("study=paper")[0] == 0
    rows = read_csv(tmp_path / "runs/paper/report/differences.csv")
    assert rows[0] == ["", *PAPER_MODELS]
    assert [row[0] for row in rows[1:]] == PAPER_MODELS
    np.testing.assert_allclose([float(cell) for cell in rows[1][1:]], TABLE_2_FIRST_ROW, atol=1.01e-4)
    assert read_csv(tmp_path / "runs/paper/report/bounds.csv")[0] == ["", *PAPER_MODELS]
    verdict = json.loads((tmp_path / "runs/paper/report/verdict.json").read_text())
    assert verdict["chosen"] == "arch2-hyp3"
    assert verdict["row_winners"] == dict.fromkeys(PAPER_MODELS, "arch2-hyp3")
    beaten = [model for model in PAPER_MODELS if model != "arch2-hyp3"]
    assert verdict["survives_correction"] == dict.fromkeys(beaten, True), "without variance every difference stands"


def test_missing_folds_are_listed(compare_command, tmp_path):
    study = tmp_path / "runs" / "s"
    hand_made_study(study, {"arch1-hyp1": 0.3, "arch2-hyp1": 0.4})
    (study / "arch2-hyp1" / "fold3" / "status.json").write_text('{"state": "failed"}')
    (study / "arch2-hyp1" / "fold4" / "status.json").unlink()
    status, out, err = compare_command("study=s")
    assert (status, out) == (1, "")
    assert "arch2-hyp1 lacks folds 3 (failed), 4 (never started): train them first" in err
    assert not (study / "report").exists()


def test_what_makes_a_comparison_void_is_refused(compare_command, tmp_path):
    """Other images, or folds of one candidate that were not trained alike."""
    study = tmp_path / "runs" / "s"
    hand_made_study(study, {"arch1-hyp1": 0.3}, data={"fingerprint": "a"})
    hand_made_study(study, {"arch2-hyp1": 0.4}, data={"fingerprint": "b"})
    status, _, err = compare_command("study=s")
    assert status == 1
    assert "runs/s/arch2-hyp1/fold0 differs from runs/s/arch1-hyp1/fold0 in data.fingerprint" in err
    study = tmp_path / "runs" / "t"
    hand_made_study(study, {"arch1-hyp1": 0.3})
    unseal(Study(study).run("arch1-hyp1", 3))
    config = (study / "arch1-hyp1/fold3/config.yaml").read_text()
    (study / "arch1-hyp1/fold3/config.yaml").write_text(config.replace("learning_rate: 0.0001", "learning_rate: 0.1"))
    status, _, err = compare_command("study=t")
    assert status == 1
    assert "runs/t/arch1-hyp1/fold3 differs from runs/t/arch1-hyp1/fold0 in learning_rate" in err


def test_all_else_that_differs_is_shown(compare_command, tmp_path):
    """A reading is one decision, whatever follows from it; a value changed by hand is another."""
    study = tmp_path / "runs" / "s"
    reading = {"name": "reported", "dropout": 0.0, "batch_norm": "fixed", "weight_decay": 0.0}
    keep80 = {"name": "keep80", "dropout": 0.2, "batch_norm": "batch", "weight_decay": 1e-3}
    hand_made_study(study, {"a": 0.3}, reading=reading, weight_decay=0.0, trainer={"max_epochs": 5})
    hand_made_study(study, {"b": 0.4}, reading=keep80, weight_decay=1e-3, trainer={"max_epochs": 9})
    hand_made_study(study, {"c": 0.2}, weight_decay=0.0, learning_rate=1e-3)
    status, out, err = compare_command("study=s")
    assert (status, err) == (0, "")
    table = out[out.index("What differs besides the network") :].split("Differences of accuracy")[0]
    rows = [line.split() for line in table.splitlines() if line.strip()]
    assert rows[1][1:] == ["reading", "learning", "rate", "epochs"]
    assert [row[1:] for row in rows[3:6]] == [["a", "reported", "0.0001", "5"], ["b", "keep80", "0.0001", "9"],
                                              ["c", "–", "0.001", "–"]]  # fmt: skip
    assert "From a and c it differs in more than one thing (reading, learning rate, epochs, network)" in " ".join(
        out.split()
    )
    assert 'id="decisions"' in (study / "report" / "report.html").read_text()


def test_surplus_and_duplicate_folds_are_refused(compare_command, tmp_path):
    study = tmp_path / "runs" / "s"
    hand_made_study(study, {"arch1-hyp1": 0.3, "arch2-hyp1": 0.4})
    shutil.rmtree(study / "arch1-hyp1" / "fold3")
    shutil.copytree(study / "arch1-hyp1" / "fold0", study / "arch1-hyp1" / "fold3")
    shutil.copytree(study / "arch2-hyp1" / "fold0", study / "arch2-hyp1" / "fold5")
    status, _, err = compare_command("study=s")
    assert status == 1
    assert "arch1-hyp1/fold3 holds results of other images than fold 3" in err
    assert "arch2-hyp1 has fold5, but there are 5 folds" in err


def test_no_such_study(compare_command, tmp_path):
    hand_made_study(tmp_path / "runs" / "mine", {"arch1-hyp1": 0.3})
    status, _, err = compare_command("study=yours")
    assert status == 1
    assert "there is no study runs/yours; there are mine" in err


@pytest.mark.parametrize("model", ["arch1", "arch2"])
@pytest.mark.parametrize("reading", ["reported", "written", "keep80"])
def test_the_choices_reach_the_network(model, reading):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose(
            "train", [f"model={model}", f"reading={reading}", "width.multiplier=0.1", "data.num_classes=100"]
        )
    net = make_net(plain(config))
    assert isinstance(net, ConvNet)
    block = net.features[0]
    assert block.dropout.p == {"reported": 0.0, "written": 0.8, "keep80": 0.2}[reading]
    assert (type(block.norm).__name__ == "FixedBatchNorm2d") == (reading == "reported")
    assert len(block.convs) == {"arch1": 1, "arch2": 2}[model]
    assert config.weight_decay == (0.0 if reading == "reported" else 1e-3)


def test_there_are_experiments():
    assert EXPERIMENTS


@pytest.mark.parametrize("experiment", [str(name) for name in EXPERIMENTS])
def test_every_experiment_runs(experiment, train_command):
    """Its own choices on tiny data, one model on one fold, or the pre-training."""
    small = ["data=synthetic", "data.train_per_class=2", "data.test_per_class=0", "trainer.max_epochs=1"]
    small += ["held_out=50"] if experiment.startswith("pretrain") else []
    status, out, err = train_command(f"experiment={experiment}", *small, "width.multiplier=0.03125", "folds.num=2")
    assert (status, err) == (0, "")
    header = (CONF / "experiment" / f"{experiment}.yaml").read_text().splitlines()[1]
    assert header.startswith("#")
    if experiment.startswith("pretrain"):
        assert "/autoencoder" in out
        assert f"python -m cifar100x.train experiment={experiment}" in header
    else:
        assert f"runs/{experiment}/arch1-hyp1/fold0" in out
        assert f"python -m cifar100x.train -m experiment={experiment}" in header


@pytest.mark.parametrize(("experiment", "models"), [("demo", [*PAPER_MODELS, "resnet20"]), ("table1", PAPER_MODELS)])
def test_a_study_has_the_eight_models_of_the_paper(experiment, models):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        sweep = hydra.compose("train", [f"experiment={experiment}"], return_hydra_config=True).hydra.sweeper.params
        candidates = sweep.candidate.split(",")
        names = [hydra.compose("train", [f"candidate={c}", "data=synthetic"]).model.name for c in candidates]
        pretraining = hydra.compose("train", [f"experiment={experiment}"]).pretraining
        needs = hydra.compose("train", [f"experiment={pretraining}"])
    assert names == [candidate.removeprefix("demo/") for candidate in candidates] == models
    assert sweep.fold == "0,1,2,3,4"
    assert needs.study == experiment
    assert needs.model.name == "autoencoder"
