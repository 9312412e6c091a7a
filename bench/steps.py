"""Training steps a second on an NVIDIA GPU: a CUDA graph for each step against the other ways, and the card's limit.

    python -m bench.steps [key=value ...]

The ways: Lightning step by step; a plain loop over the same step; that loop with the network and its loss compiled
by torch.compile(mode="reduce-overhead"); Lightning with many captured steps at once, as a run trains there; and five
runs of that on one GPU, in all, as `launch.jobs_per_gpu` starts them, in turns and with `launch.mps` side by side.
Each is in a process of its own, in turn, and counts the steps that end in some seconds after a warm-up. The limit is
what the card multiplies in large matrices of bf16, measured in the same minute. Arguments are those of cifar100x.train,
such as candidate=arch2-hyp3; the loops know the paper's recipe alone.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import hydra
import lightning as L
import numpy as np
import torch
from omegaconf import DictConfig
from torch.nn import functional as F

from cifar100x.app.configs import CONF, plain
from cifar100x.app.parts import net_maker
from cifar100x.app.recipes import recipe_of
from cifar100x.app.steps import AT_ONCE
from cifar100x.data.batches import KFoldDataModule
from cifar100x.data.store import IMAGE_SHAPE, Split
from cifar100x.sweep.mps import side_by_side
from cifar100x.training import machine
from cifar100x.training.callbacks import FiniteLoss
from cifar100x.training.classify import Classifier
from cifar100x.training.needs import needs_of

WARM_UP_SECONDS, SECONDS = 4.0, 4.0
"""The warm-up is from the end of the first steps, which torch.compile may take a minute for."""
BESIDE = 5
NUM_IMAGES = 40_000
PEAK_SIDE, PEAK_REPEATS = 8192, 20


class Counter(L.Callback):
    """Notes when steps end and stops the training when it has seen enough."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.counts: list[int] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any) -> None:
        """End as many steps as there are losses."""
        self.note(outputs["loss"].numel())
        trainer.should_stop = self.is_over

    def note(self, num_steps: int) -> None:
        """End some steps now."""
        self.ends.append(time.monotonic())
        self.counts.append(num_steps)

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.ends[-1] - self.ends[0] > WARM_UP_SECONDS + SECONDS

    @property
    def steps_per_second(self) -> float:
        """Of those that ended after the warm-up."""
        first = next(i for i, end in enumerate(self.ends) if end >= self.ends[0] + WARM_UP_SECONDS)
        return sum(self.counts[first + 1 :]) / (self.ends[-1] - self.ends[first])


def images() -> Split:
    """Images of noise: no step takes longer for what they show."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (NUM_IMAGES, *IMAGE_SHAPE), dtype=np.uint8)
    labels = generator.integers(0, 100, NUM_IMAGES, dtype=np.uint8)
    return Split(pixels, labels, labels)


def task_of(config: DictConfig) -> Classifier:
    """The network of a config with its recipe."""
    task = Classifier(net_maker(plain(config))(), recipe=recipe_of(plain(config)), seed=(0,), num_classes=100)
    task.num_steps = 10**6
    return task


def with_lightning(config: DictConfig, counter: Counter, *, at_once: int) -> None:
    """Train as a run of this package does."""
    folds = [np.arange(0), np.arange(NUM_IMAGES)]
    batch_size = config.data.batch_size
    data = KFoldDataModule(
        images(), folds, fold=0, batch_size=batch_size, reshuffle=True, seed=(0,), steps_at_once=at_once
    )
    task = task_of(config)
    task.automatic_optimization = at_once == 1
    L.Trainer(
        precision=machine.PRECISIONS[precision_of(config)],
        benchmark=True,
        max_epochs=-1,
        callbacks=[FiniteLoss(), counter],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(task, data)


def plainly(config: DictConfig, counter: Counter, *, compiled: bool) -> None:
    """Train in a plain loop over the same step."""
    torch.backends.cudnn.benchmark = True
    device, split = machine.resolve_device("auto"), images()
    pixels, labels = torch.from_numpy(split.images).to(device), torch.from_numpy(split.fine).long().to(device)
    task = task_of(config).to(device).train()
    optimizer = task.recipe.optimizer_of(task.net)

    def loss_of(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(task(images), labels)

    find_loss = torch.compile(loss_of, mode="reduce-overhead") if compiled else loss_of
    for step, rows in enumerate(batches(len(labels), config.data.batch_size, device)):
        torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision_of(config) == "bf16"):
            loss = find_loss(pixels.index_select(0, rows), labels.index_select(0, rows))
        loss.backward()
        optimizer.step()
        if step % AT_ONCE == AT_ONCE - 1:
            float(loss.detach())
            counter.note(AT_ONCE)
            if counter.is_over:
                return


def batches(num_images: int, batch_size: int, device: torch.device) -> Iterator[torch.Tensor]:
    """Rows of whole batches, for ever."""
    while True:
        for rows in torch.randperm(num_images, device=device).split(batch_size):
            if len(rows) == batch_size:
                yield rows


def precision_of(config: DictConfig) -> str:
    """What a run would choose."""
    return machine.resolve_precision(config.trainer.precision, machine.resolve_device("auto"))


WAYS = {
    "lightning": lambda config, counter: with_lightning(config, counter, at_once=1),
    "plain": lambda config, counter: plainly(config, counter, compiled=False),
    "compiled": lambda config, counter: plainly(config, counter, compiled=True),
    "captured": lambda config, counter: with_lightning(config, counter, at_once=AT_ONCE),
}


def config_of(overrides: list[str]) -> DictConfig:
    """The config of a run."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("train", ["data.num_classes=100", *overrides])


def steps_per_second(way: str, overrides: list[str]) -> float:
    """Of one way, in this process."""
    machine.quiet()
    counter = Counter()
    WAYS[way](config_of(overrides), counter)
    return counter.steps_per_second


def peak() -> float:
    """Operations a second of a product of two large matrices in bf16, the median of some."""
    device = machine.resolve_device("auto")
    a, b = (torch.randn(PEAK_SIDE, PEAK_SIDE, device=device).bfloat16() for _ in range(2))
    seconds = []
    for _ in range(3 + PEAK_REPEATS):
        torch.accelerator.synchronize()
        started = time.perf_counter()
        a @ b
        torch.accelerator.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * PEAK_SIDE**3 / statistics.median(seconds[3:])


def measured(way: str, overrides: list[str], num_processes: int = 1) -> float:
    """Steps a second of all processes together."""
    command = [sys.executable, "-m", "bench.steps", "--way", way, *overrides]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(num_processes)]
    return sum(float(process.communicate()[0].splitlines()[-1]) for process in processes)


def main() -> None:
    """Measure all ways in turn and print them against Lightning's single steps and the card's limit."""
    if sys.argv[1:2] == ["--way"]:
        print(steps_per_second(sys.argv[2], sys.argv[3:]))
        return
    overrides = sys.argv[1:]
    config, device = config_of(overrides), machine.resolve_device("auto")
    if device.type != "cuda":
        raise SystemExit(f"error: this compares ways to use an NVIDIA GPU, and there is none: {device.type}")
    needs = needs_of(net_maker(plain(config)), IMAGE_SHAPE, config.data.batch_size, precision_of(config))
    limit = peak()
    print(f"{' '.join(overrides) or 'arch1-hyp1'} on {machine.device_name(device)}, torch {torch.__version__}")
    print(f"  largest matrix product: {limit / 1e12:.0f} TFLOP/s")
    found = {way: measured(way, overrides) for way in WAYS}
    found[f"{BESIDE} in turns"] = measured("captured", overrides, BESIDE)
    with side_by_side():
        found[f"{BESIDE} beside"] = measured("captured", overrides, BESIDE)
    for way, speed in found.items():
        share = speed * needs.flops_per_image * config.data.batch_size / limit
        print(f"  {way:12} {speed:8.1f} steps/s, {speed / found['lightning']:5.2f} x, {share:6.1%} of the product")


if __name__ == "__main__":
    main()
