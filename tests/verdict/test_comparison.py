"""What a comparison says of runs, against the same numbers computed from their files by hand."""

from itertools import combinations

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import t

from cifar100x.data.classes import COARSE_OF_FINE
from cifar100x.runs.finished import finished_results
from cifar100x.runs.result import CURVES, OF_ENVIRONMENT, Eliminated, Predictions
from cifar100x.runs.study import Folds, Study
from cifar100x.runs.terms import Terms
from cifar100x.verdict.comparison import compare_results
from tests.test_study import hand_made_study

NUM_FOLDS, PER_FOLD = 5, 200


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Three models of growing accuracy on 1000 images in five folds, with logits ten times too sure."""
    generator = np.random.default_rng(0)
    study = Study(tmp_path_factory.mktemp("runs") / "study")
    labels = generator.permutation(np.repeat(np.arange(100), 10))
    folds = np.split(generator.permutation(1000), NUM_FOLDS)
    study.share_folds(Folds(folds, "fingerprint"))
    for model, skill in (("a", 1.0), ("b", 1.5), ("c", 2.5)):
        for k, index in enumerate(folds):
            logits = generator.normal(size=(PER_FOLD, 100))
            logits[np.arange(PER_FOLD), labels[index]] += skill
            correct = logits.argmax(axis=1) == labels[index]
            run = study.run(model, k)
            with run.session({"task": "classification", "model": {"name": model}}):
                val = {"accuracy": correct.mean(), "cross_entropy": 0.0, "count": PER_FOLD}
                metrics = {"model": model, "fold": k, "folds": NUM_FOLDS, "seed": 42, "parameters": 1, "epochs": 1,
                           "train_seconds": 1.0, "data": {"name": "none", "fingerprint": "f"}, "train": val,
                           "environment": dict.fromkeys(OF_ENVIRONMENT, "none"), "val": val}  # fmt: skip
                run.write_history([{"epoch": 1, **dict.fromkeys(CURVES, 1.0)}])
                run.record(metrics, Predictions(index, labels[index], 10 * logits))
    return study


@pytest.fixture(scope="module")
def comparison(study):
    return compare_results(finished_results(study), terms=Terms())


def pooled(study, model) -> Predictions:
    parts = [study.run(model, k).predictions for k in range(NUM_FOLDS)]
    arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in ("index", "label", "logits")]
    order = np.argsort(arrays[0])
    return Predictions(*(array[order] for array in arrays))


def test_pairs_are_all_pairs(comparison):
    assert [(p.model_a, p.model_b) for p in comparison.pairs] == list(combinations("abc", 2))
    assert comparison.pair(2, 0) == comparison.pair(0, 2) == comparison.pairs[1]


def test_counts_of_a_pair(comparison, study):
    a, b = (pooled(study, model) for model in "ab")
    right_a, right_b = (p.logits.argmax(axis=1) == p.label for p in (a, b))
    pair = comparison.pairs[0]
    assert (pair.only_a, pair.only_b) == ((right_a & ~right_b).sum(), (right_b & ~right_a).sum())
    assert pair.difference == pytest.approx(right_a.mean() - right_b.mean())
    assert pair.ci_low < pair.difference < pair.ci_high
    assert pair.p_holm >= pair.p


def test_superclasses(comparison, study):
    coarse = np.array(COARSE_OF_FINE)
    for row, model in zip(comparison.superclass_accuracies, "abc", strict=True):
        p = pooled(study, model)
        for superclass in range(20):
            here = coarse[p.label] == superclass
            assert row[superclass] == pytest.approx((p.logits.argmax(axis=1) == p.label)[here].mean())


def test_confusion_counts_every_image_once(comparison, study):
    p = pooled(study, "c")
    counts = comparison.confusion(2)
    assert counts.sum() == 1000
    assert counts[3, 7] == ((p.label == 3) & (p.logits.argmax(axis=1) == 7)).sum()


def test_over_confidence_is_found_and_mended(comparison, study):
    for calibration, model in zip(comparison.calibrations, "abc", strict=True):
        p = pooled(study, model)
        assert calibration.cross_entropy == pytest.approx(-log_softmax(p.logits, axis=1)[range(1000), p.label].mean())
        assert calibration.error > 0.2
        assert calibration.temperature > 2
        assert calibration.scaled_cross_entropy < calibration.cross_entropy / 2


def test_the_best_is_chosen_and_stands(comparison):
    assert comparison.models[comparison.chosen] == "c"
    assert comparison.survives(2, 0)
    assert not comparison.survives(0, 2)
    assert all(0 < p.detectable < p.detectable_holm < 0.5 for p in comparison.pairs)


def test_one_model_alone(study):
    alone = compare_results({"a": finished_results(study)["a"]}, terms=Terms())
    assert alone.pairs == []
    assert (alone.models, alone.chosen, alone.winners.tolist()) == (["a"], 0, [0])
    assert alone.accuracy_low[0] < alone.accuracies.mean() < alone.accuracy_high[0]


def test_the_temperature_of_a_fold_is_fitted_on_the_others(comparison, study):
    runs = [study.run("b", k).predictions for k in range(NUM_FOLDS)]
    scaled = []
    for k, run in enumerate(runs):
        others = runs[:k] + runs[k + 1 :]
        logits, labels = (np.concatenate([getattr(other, of) for other in others]) for of in ("logits", "label"))
        at = {t: -log_softmax(logits / t, axis=1)[range(len(labels)), labels].mean() for t in np.geomspace(2, 40, 500)}
        lowest = min(at, key=lambda t: at[t])
        scaled.append(-log_softmax(run.logits / lowest, axis=1)[range(PER_FOLD), run.label].mean())
    assert comparison.calibrations[1].scaled_cross_entropy == pytest.approx(np.mean(scaled), abs=2e-5)


def test_folds_that_are_equal_leave_no_interval_of_no_width(tmp_path):
    """Half of a hundred images in both folds: nobody knows a mean better than rounding to whole images allows."""
    hand_made_study(tmp_path / "s", {"a": 0.5, "b": 0.4}, num_folds=2, images=100)
    results = finished_results(Study(tmp_path / "s"))
    out = Eliminated(results=results.pop("b"), after=2, leader="a", behind=0.1, chance=0.0)
    found = compare_results(results, Terms(), eliminated={"b": out})
    half = t.ppf(0.975, 1) * np.sqrt((1 / 2 + 1) / 12) / 100
    assert (found.accuracy_low[0], found.accuracy_high[0]) == pytest.approx((0.5 - half, 0.5 + half))
    (left,) = found.eliminated
    assert (left.ci_low, left.ci_high) == pytest.approx((0.1 - half * np.sqrt(2), 0.1 + half * np.sqrt(2)))


def test_an_eliminated_model_is_compared_on_the_folds_that_both_have(tmp_path):
    hand_made_study(tmp_path / "s", {"a": 0.5, "b": 0.4}, num_folds=3, images=100)
    results = finished_results(Study(tmp_path / "s"))
    for accuracy, result in zip((0.5, 0.8, 0.6), results["a"], strict=True):
        result.metrics["val"]["accuracy"] = accuracy
    of_b = results.pop("b")
    out = Eliminated(results=[of_b[0], of_b[2]], after=2, leader="a", behind=0.1, chance=0.0)
    (left,) = compare_results(results, Terms(), eliminated={"b": out}).eliminated
    assert (left.folds, left.lead) == (2, pytest.approx(0.15))


def test_an_accuracy_has_no_interval_beyond_all_or_none(tmp_path):
    hand_made_study(tmp_path / "s", {"a": 0.5, "b": 0.5}, num_folds=2)
    results = finished_results(Study(tmp_path / "s"))
    for model, accuracies in {"a": (0.01, 0.03), "b": (0.97, 0.99)}.items():
        for result, accuracy in zip(results[model], accuracies, strict=True):
            result.metrics["val"]["accuracy"] = accuracy
    comparison = compare_results(results, terms=Terms())
    margin = np.abs(np.diff(comparison.accuracies)) / np.sqrt(2) * np.sqrt(1 / 2 + 1) * t.ppf(0.975, 1)
    means = comparison.accuracies.mean(axis=1, keepdims=True)
    ends = np.hstack([means - margin, means + margin])
    assert ends[0, 0] < 0
    assert ends[1, 1] > 1
    np.testing.assert_allclose(np.stack([comparison.accuracy_low, comparison.accuracy_high], axis=1), ends.clip(0, 1))
