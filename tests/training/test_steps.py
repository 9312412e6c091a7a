"""Many steps at once are the same steps; where anything goes by single ones, many are refused."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from cifar100x.app.steps import AT_ONCE, steps_at_once
from cifar100x.errors import UserError
from cifar100x.runs.directory import RunDirectory
from cifar100x.training import steps
from cifar100x.training.steps import CapturedStep
from tests.conftest import TINY, TINY_PRETRAINING

SMALL_BATCHES = ("data.batch_size=8",)  # 12 of them and one of 4


def rows(run):
    return [{n: v for n, v in row.items() if n != "seconds"} for row in run.history]


def as_in(run):
    """The same rows; sums over an epoch are of the same numbers, but in another order."""
    return [pytest.approx(row, rel=1e-5) for row in rows(run)]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("recipe", ["paper", "modern"])
def test_the_numbers_of_single_steps(recipe, precision, train_command):
    """Of weights, in bf16 rounded anew each step, of schedule, augmentation and dropout; single steps are Lightning's.

    By 4: three chunks of whole batches, and the smaller batch alone.
    """
    chosen = (*TINY, *SMALL_BATCHES, f"recipe={recipe}", f"trainer.precision={precision}", "reading.dropout=0.2")
    for at_once in (1, 4):
        status, _, err = train_command(*chosen, f"trainer.steps_at_once={at_once}", f"study=by{at_once}")
        assert status == 0, err
    by_one, by_four = (RunDirectory(Path(f"runs/by{at_once}/{name_of(recipe)}/fold0")) for at_once in (1, 4))
    assert rows(by_four) == as_in(by_one)
    assert np.array_equal(by_four.predictions.logits, by_one.predictions.logits)
    assert by_four.metrics["steps"] == by_one.metrics["steps"] == 2 * 13


def name_of(recipe):
    return "arch1-hyp1" if recipe == "paper" else f"arch1-hyp1-{recipe}"


class PretendedGraph:
    """Takes the step again, kernel by kernel, where a graph would."""

    def replay(self):
        self.step()


class PretendedCapture(CapturedStep):
    """Nothing is computed while a step is captured."""

    def _step(self):
        self.graph.step = super()._step


@pytest.mark.parametrize("recipe", ["paper", "modern"])
def test_captured_steps_find_their_batches(recipe, train_command, monkeypatch):
    """Where in a chunk they are, with the optimiser in the graph and behind it, and a smaller batch in between.

    By 5: the last chunk of an epoch holds two whole batches and a smaller one.
    """
    captured = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", PretendedGraph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: captured.append(graph) or nullcontext())
    monkeypatch.setattr(steps, "CapturedStep", PretendedCapture)
    monkeypatch.setattr(steps.ManySteps, "can_capture", lambda self, chunk: True)
    monkeypatch.setattr(steps.ManySteps, "_warmed_up", lambda self, chunk: list(self._each(chunk)))
    chosen = (*TINY, *SMALL_BATCHES, f"recipe={recipe}", "reading.dropout=0.2")
    for at_once in (1, 5):
        status, _, err = train_command(*chosen, f"trainer.steps_at_once={at_once}", f"study=by{at_once}")
        assert status == 0, err
    by_one, by_five = (RunDirectory(Path(f"runs/by{at_once}/{name_of(recipe)}/fold0")) for at_once in (1, 5))
    assert len(captured) == 1, "once for all epochs"
    assert rows(by_five) == as_in(by_one)
    assert np.array_equal(by_five.predictions.logits, by_one.predictions.logits)


def test_a_schedule_by_epochs(train_command):
    schedule = ("+recipe.schedule._target_=torch.optim.lr_scheduler.ExponentialLR", "+recipe.schedule.gamma=0.5")
    rates = []
    for at_once in (1, 4):
        named = (f"trainer.steps_at_once={at_once}", f"study=by{at_once}", "recipe.name=halved")
        status, _, err = train_command(*TINY, *SMALL_BATCHES, *schedule, *named)
        assert status == 0, err
        run = RunDirectory(Path(f"runs/by{at_once}/arch1-hyp1-halved/fold0"))
        rates.append([row["learning_rate"] for row in run.history])
    assert rates[0] == rates[1] == pytest.approx([1e-4, 5e-5])


def test_an_autoencoder(train_command):
    """Its images come from disk, window by window."""
    for at_once in (1, 3):
        chosen = (*SMALL_BATCHES, f"trainer.steps_at_once={at_once}", f"study=by{at_once}")
        status, _, err = train_command(*TINY_PRETRAINING, *chosen)
        assert status == 0, err
    by_one, by_three = (RunDirectory(Path(f"runs/by{at_once}/autoencoder")) for at_once in (1, 3))
    assert rows(by_three) == as_in(by_one)


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        (["trainer.devices=2"], "trainer.devices=2 goes"),
        (["+callbacks.mine._target_=lightning.pytorch.callbacks.LearningRateMonitor"], "callbacks go"),
        (["+trainer.accumulate_grad_batches=2"], "trainer.accumulate_grad_batches goes"),
        (["recipe.averaging={_target_: lightning.pytorch.callbacks.EMAWeightAveraging}"], "recipe.averaging goes"),
    ],
)
def test_what_goes_by_single_steps(chosen, reason, train_command):
    status, _, err = train_command(*TINY, "trainer.steps_at_once=5", *chosen)
    assert (status, err) == (1, f"error: trainer.steps_at_once is 5, but {reason} by single steps: choose 1, or auto\n")


@pytest.mark.parametrize("wrong", ["0", "true", "some", "2.5"])
def test_no_number_of_steps(wrong, train_command):
    status, _, err = train_command(*TINY, f"trainer.steps_at_once={wrong}")
    assert status in (1, 2)
    assert "trainer.steps_at_once" in err
    assert "expected" in err


ADAM = {"optimizer": {"_target_": "torch.optim.Adam"}}
OURS = {"model": {"net": {"_target_": "cifar100x.nets.conv.ConvNet"}}, "recipe": ADAM, "trainer": {}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, AT_ONCE),
        ({"recipe": ADAM | {"augmentation": {"_target_": "cifar100x.data.augmentation.ShiftAndFlip"}}}, AT_ONCE),
        ({"recipe": ADAM | {"augmentation": {"_target_": "cifar100x.data.augmentation.Each"}}}, 1),
        ({"recipe": {"optimizer": {"_target_": "mine.Optimizer"}}}, 1),
        ({"recipe": {"optimizer": {}}}, 1),
        ({"model": {"net": {"_target_": "torchvision.models.resnet18"}}}, 1),
        ({"callbacks": {"mine": {}}}, 1),
        ({"trainer": {"limit_train_batches": 3}}, 1),
        ({"trainer": {"deterministic": True, "inference_mode": True, "profiler": None}}, AT_ONCE),
        ({"model": {"net": {"_target_": "torchvision.models.resnet18"}}, "trainer": {"steps_at_once": 9}}, 9),
    ],
)
def test_what_is_captured_on_a_gpu(change, expected):
    """Networks and augmentations whose random numbers are known to be the device's; others where a user says so."""
    assert steps_at_once(OURS | change, torch.device("cuda"), 1) == expected


def test_a_cpu_takes_single_steps():
    assert steps_at_once(OURS, torch.device("cpu"), 1) == 1
    with pytest.raises(UserError, match="expected auto or 1"):
        steps_at_once(OURS | {"trainer": {"steps_at_once": 0}}, torch.device("cpu"), 1)


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1)])
def test_a_run_goes_on_with_another_number_of_steps(before, after, train_command, trained_and_killed):
    """As where it moves to a GPU or from one: with the numbers that it would have had."""
    chosen = (*TINY, *SMALL_BATCHES, "recipe=modern", "reading.dropout=0.2")
    trained_and_killed(*chosen, f"trainer.steps_at_once={before}")
    status, _, err = train_command(*chosen, f"trainer.steps_at_once={after}")
    assert status == 0, err
    whole, resumed = (RunDirectory(Path(place, "default/arch1-hyp1-modern/fold0")) for place in ("whole", "runs"))
    assert len(resumed.metrics["sessions"]) == 2
    assert rows(resumed) == as_in(whole)
    assert np.array_equal(resumed.predictions.logits, whole.predictions.logits)
