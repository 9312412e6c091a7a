"""Linear probes against scikit-learn, and the command from outside."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cifar100x import probe
from cifar100x.probing import linear_probe
from cifar100x.probing.linear_probe import fit_linear_probe
from tests.conftest import TINY, TINY_PRETRAINING


def problem(num_images=300, num_classes=4, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes, num_images)
    inputs = generator.normal(size=(num_images, 6)) * [1, 10, 0.1, 1, 1, 1] + 3
    inputs[:, 0] += labels
    return torch.from_numpy(inputs).float(), torch.from_numpy(labels)


def test_logits_are_those_of_scikit_learn():
    """Its objective is C * sum of losses + ||w||^2 / 2, ours mean loss + penalty / 2 * ||w||^2: C = 1 / (N penalty)."""
    inputs, labels = problem()
    rows = torch.arange(250)
    fitted = fit_linear_probe(inputs, labels, rows, seed=0, penalties=[0.01])
    scaler = StandardScaler().fit(inputs[rows])
    oracle = LogisticRegression(C=1 / (250 * 0.01), tol=1e-8, max_iter=1000).fit(
        scaler.transform(inputs[rows]), labels[rows]
    )
    expected = oracle.predict_proba(scaler.transform(inputs[250:]))
    np.testing.assert_allclose(fitted(inputs[250:]).softmax(1), expected, atol=2e-3)


def test_the_penalty_is_chosen_by_rows_left_out():
    """Where inputs are noise a strong penalty wins; rows outside `training` are never looked at."""
    inputs, labels = problem()
    inputs[250:] = float("nan")
    fitted = fit_linear_probe(inputs, labels, torch.arange(250), seed=0)
    assert torch.isfinite(fitted.linear.weight).all()
    noise = torch.randn(200, 100, generator=torch.Generator().manual_seed(0))
    by_choice, weak = (
        fit_linear_probe(noise, labels[:200], torch.arange(200), seed=0, penalties=penalties)
        for penalties in (linear_probe.PENALTIES, [0.001])
    )
    assert by_choice.linear.weight.norm() < weak.linear.weight.norm()


def test_a_weak_penalty_wins_where_classes_lie_apart():
    """Ten columns tell ten classes apart, among many that tell nothing."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 10
    inputs = 0.3 * torch.randn(400, 60, generator=generator) + torch.nn.functional.one_hot(labels, 60)
    by_choice, strong = (
        fit_linear_probe(inputs, labels, torch.arange(400), seed=0, penalties=penalties)
        for penalties in (linear_probe.PENALTIES, [1.0])
    )
    assert by_choice.linear.weight.norm() > 2 * strong.linear.weight.norm()


def test_the_seed_draws_the_rows_that_choose():
    inputs, labels = problem()
    first, again, other = (fit_linear_probe(inputs, labels, torch.arange(250), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.linear.weight, again.linear.weight)
    assert not torch.equal(first.linear.weight, other.linear.weight)


PROBED = ("study=default", "data=synthetic", "data.train_per_class=2", "data.test_per_class=0", "folds.num=2")


def check_result(out, name="probe.csv"):
    with Path("runs/default/report", name).open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["representation"], int(row["dimensions"])) for row in rows] == [
        ("code", 64), ("features", 8 * 64), ("pixels", 3072)
    ]  # fmt: skip
    for row in rows:
        assert 0 <= float(row["accuracy_mean"]) <= 1
        assert float(row["accuracy_low"]) <= float(row["accuracy_mean"]) <= float(row["accuracy_high"])
        assert f"{100 * float(row['accuracy_mean']):.2f}" in out
    return rows


@pytest.fixture
def hurried(monkeypatch):
    """Fits of a few steps: what becomes of them is looked at, not how good they are."""
    monkeypatch.setattr(linear_probe, "MAX_ITERATIONS", 3)


def test_the_command(pretrained, command, train_command, hurried):
    """On images that are named, and on those of the study's runs: the same, and no folds are written.

    The encoder of another study is not taken for this one's.
    """
    status, out, err = command(probe.main, *PROBED)
    assert (status, err) == (0, "")
    named = check_result(out, "probe~synthetic.csv")
    assert not Path("runs/default/folds.npz").exists()
    assert train_command(*TINY)[0] == 0
    status, out, err = command(probe.main, "study=default")
    assert (status, err) == (0, "")
    assert check_result(out) == named
    own = Path("runs/default/report/probe.csv").read_bytes()
    assert train_command(*TINY_PRETRAINING, "study=other")[0] == 0
    assert command(probe.main, "study=default", "encoder=runs/other/autoencoder")[0] == 0
    assert Path("runs/default/report/probe.csv").read_bytes() == own
    assert Path("runs/default/report/probe-other~autoencoder.csv").exists()


def test_without_an_encoder(command):
    status, out, err = command(probe.main, *PROBED)
    assert (status, out) == (1, "")
    assert err.startswith("error: there is no pre-training in runs/default/autoencoder: make it with")


def test_without_images(pretrained, command, train_command):
    status, out, err = command(probe.main, "study=default")
    assert (status, out) == (1, "")
    assert "runs/default has no classifier whose images and folds a probe could take" in err


@pytest.mark.parametrize("argument", ["modle.encoder=x", "data=cifar1000", "fold=1"])
def test_a_mistyped_key(argument, command):
    status, _, err = command(probe.main, argument)
    assert status == 2
    assert "did you mean" in err
