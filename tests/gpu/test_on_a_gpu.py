"""What only an NVIDIA GPU can show; elsewhere all of it is skipped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cifar100x import export
from cifar100x.runs.directory import RunDirectory
from cifar100x.training import machine, steps
from tests.conftest import TINY, TINY_PRETRAINING

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU here")


def on_gpu(arguments):
    return tuple("trainer=gpu" if argument == "trainer=cpu" else argument for argument in arguments)


GPU, GPU_PRETRAINING = on_gpu(TINY), on_gpu(TINY_PRETRAINING)
DETERMINISTIC = ("+trainer.deterministic=true", "data.batch_size=8")  # 12 batches and one of 4 an epoch


def trained(train_command, *arguments, study):
    status, _, err = train_command(*arguments, f"study={study}")
    assert status == 0, err
    (config,) = Path(f"runs/{study}").glob("**/config.yaml")
    return RunDirectory(config.parent)


@pytest.fixture(autouse=True)
def captures(monkeypatch):
    """What is captured in this process: whether the optimiser is in the graph, of each step."""
    found = []
    capture = steps.CapturedStep.__init__

    def capturing(self, *arguments):
        capture(self, *arguments)
        found.append(self.whole)

    monkeypatch.setattr(steps.CapturedStep, "__init__", capturing)
    return found


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("recipe", ["paper", "modern"])
def test_a_captured_step_is_the_step(recipe, precision, train_command, captures):
    """Bit for bit, with dropout, augmentation and a schedule; single steps are those of Lightning."""
    chosen = (*GPU, *DETERMINISTIC, f"recipe={recipe}", f"trainer.precision={precision}", "reading.dropout=0.2")
    single = trained(train_command, *chosen, "trainer.steps_at_once=1", study="single")
    captured = trained(train_command, *chosen, study="captured")
    assert (single.config["trainer"]["steps_at_once"], captured.config["trainer"]["steps_at_once"]) == (1, 50)
    assert np.array_equal(captured.predictions.logits, single.predictions.logits)
    losses = [[row["val_cross_entropy"] for row in run.history] for run in (captured, single)]
    assert losses[0] == losses[1]
    assert captures == [recipe == "paper"], "the optimiser with it where no schedule changes its settings"


def test_a_captured_step_of_an_autoencoder(train_command, captures):
    chosen = (*GPU_PRETRAINING, *DETERMINISTIC)
    single = trained(train_command, *chosen, "trainer.steps_at_once=1", study="single")
    captured = trained(train_command, *chosen, study="captured")
    assert captured.metrics["val"] == single.metrics["val"]
    assert captures == [True]


def test_a_schedule_by_epochs_reaches_the_optimiser(train_command, captures):
    """A fused Adam could be in the graph, with the rate of the first epoch for good."""
    schedule = ("+recipe.schedule._target_=torch.optim.lr_scheduler.ExponentialLR", "+recipe.schedule.gamma=0.1")
    chosen = (*GPU, *DETERMINISTIC, *schedule, "recipe.name=falling", "learning_rate=1e-2")
    single = trained(train_command, *chosen, "trainer.steps_at_once=1", study="single")
    captured = trained(train_command, *chosen, study="captured")
    assert np.array_equal(captured.predictions.logits, single.predictions.logits)
    assert captures == [False]


def test_a_frozen_encoder(pretrained, train_command):
    """The head alone is trained, on codes that lie on the GPU."""
    chosen = (*GPU, *DETERMINISTIC, "model=transfer", "model.frozen=true", "pretraining=pretrain")
    for at_once in (1, 50):
        status, _, err = train_command(*chosen, f"trainer.steps_at_once={at_once}", f"name=by{at_once}")
        assert status == 0, err
    single, captured = (RunDirectory(Path(f"runs/default/by{at_once}/fold0")) for at_once in (1, 50))
    assert single.metrics["environment"]["device"] == torch.cuda.get_device_name()
    assert np.array_equal(captured.predictions.logits, single.predictions.logits)


def test_resumed_bit_for_bit(train_command, trained_and_killed):
    """With deterministic kernels, which a user asks for."""
    trained_and_killed(*GPU, *DETERMINISTIC, "reading.dropout=0.2")
    whole = RunDirectory(Path("whole/default/arch1-hyp1/fold0"))
    assert train_command(*GPU, *DETERMINISTIC, "reading.dropout=0.2")[0] == 0
    resumed = RunDirectory(Path("runs/default/arch1-hyp1/fold0"))
    assert len(resumed.metrics["sessions"]) == 2
    assert np.array_equal(resumed.predictions.logits, whole.predictions.logits)


@pytest.mark.parametrize(("first", "then"), [(GPU, TINY), (TINY, GPU)])
def test_a_run_moves_between_gpu_and_cpu(first, then, train_command, trained_and_killed):
    """What was begun on one goes on where there is only the other."""
    trained_and_killed(*first, "trainer.precision=float32", "data.batch_size=8")
    status, _, err = train_command(*then, "trainer.precision=float32", "data.batch_size=8")
    assert status == 0, err
    devices = [session["device"] for session in RunDirectory(Path("runs/default/arch1-hyp1/fold0")).metrics["sessions"]]
    assert len(set(devices)) == len(devices) == 2


def test_precisions():
    """bf16 by itself; float32 is float32 in convolutions and products, not TF32."""
    assert machine.resolve_precision("auto", torch.device("cuda")) == "bf16"
    machine.allow_tf32(False)
    generator = torch.Generator().manual_seed(0)
    images, kernels = (torch.randn(*shape, generator=generator) for shape in ((8, 64, 16, 16), (64, 64, 3, 3)))
    exact = F.conv2d(images.double(), kernels.double(), padding=1)
    found = F.conv2d(images.cuda(), kernels.cuda(), padding=1).cpu().double()
    assert (found - exact).norm() / exact.norm() < 1e-6
    rounded = (found - F.conv2d(images.bfloat16().double(), kernels.bfloat16().double(), padding=1)).norm()
    assert rounded / exact.norm() > 1e-4, "the bound tells them apart"


MEMORY = """
import sys, torch
from cifar100x import train
from cifar100x.training import run
sys.argv = ["", *sys.argv[1:]]
found = []
needs = run.needs
run.needs = lambda job: found.append(needs(job)) or found[-1]
train.main()
print(torch.cuda.max_memory_allocated(), found[0].memory)
"""


def test_needs_against_the_memory_of_a_run(tmp_path, cache):
    """A network of 37 MB of weights, captured: within half of what was foreseen, images of some 1 MB included."""
    arguments = [*(a for a in GPU if "width" not in a), "trainer.precision=float32", "trainer.max_epochs=4"]
    environment = os.environ | {
        "CIFAR100X_CACHE": str(cache),
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path]),
    }
    shell = [sys.executable, "-c", MEMORY, *arguments]
    made = subprocess.run(shell, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    peak, foreseen = map(int, made.splitlines()[-1].split())
    assert 0.5 < peak / foreseen < 1.5, (peak, foreseen)


WAITING = """
import torch

class Net(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layer = torch.nn.Linear(3072, num_classes)

    def forward(self, x):
        return self.layer(x.flatten(1)) * (1 if x.sum().item() > 0 else 2)
"""


def test_a_network_that_waits_for_the_device_cannot_be_captured(train_command, monkeypatch):
    """One line where it is asked for; by itself, nothing is captured but what is known."""
    Path("waiting.py").write_text(WAITING)
    Path("conf/model").mkdir(parents=True)
    net = "net: {_target_: waiting.Net, num_classes: '${data.num_classes}'}"
    Path("conf/model/waiting.yaml").write_text(f"# @package _global_\nmodel:\n  name: waiting\n  {net}\n")
    monkeypatch.syspath_prepend(Path.cwd())
    chosen = ("--config-dir", "conf", "model=waiting", *(a for a in GPU if "width" not in a), "data.batch_size=8")
    status, _, err = train_command(*chosen, "trainer.steps_at_once=20", "study=captured")
    assert status == 1
    assert "cannot be captured as a CUDA graph" in err
    assert err.rstrip().endswith("choose trainer.steps_at_once=1")
    assert train_command(*chosen, "study=single")[0] == 0


def test_not_enough_memory_is_one_line(train_command, monkeypatch):
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-4)
    try:
        status, _, err = train_command(*(a for a in GPU if "width" not in a))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert status == 1
    assert "error: the GPU has not enough memory for this run" in err
    assert json.loads(Path("runs/default/arch1-hyp1/fold0/status.json").read_text())["state"] == "failed"


def test_two_runs_on_one_gpu(tmp_path, cache):
    """One beside the other, each with the numbers that it has alone."""
    environment = os.environ | {
        "CIFAR100X_CACHE": str(cache),
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path]),
    }

    def start(fold, study):
        shell = [sys.executable, "-m", "cifar100x.train", *GPU, *DETERMINISTIC, f"fold={fold}", f"study={study}"]
        return subprocess.Popen(shell, cwd=tmp_path, env=environment)

    assert start(0, "alone").wait() == 0
    beside = [start(0, "beside"), start(1, "beside")]
    assert [process.wait() for process in beside] == [0, 0]
    alone, other = (RunDirectory(tmp_path / f"runs/{study}/arch1-hyp1/fold0") for study in ("alone", "beside"))
    assert np.array_equal(alone.predictions.logits, other.predictions.logits)


def test_exported(train_command, command):
    """From a GPU's checkpoint, on the CPU, where the file's logits are held against the network's."""
    run = trained(train_command, *GPU, "trainer.precision=float32", study="default")
    status, out, err = command(export.main, str(run.path), "out")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].startswith("wrote out: model.safetensors, model.onnx")
