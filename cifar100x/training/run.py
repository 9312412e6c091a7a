"""One run from its first step to its record."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from rich.console import Console

from cifar100x.errors import UserError
from cifar100x.ranks import launching_ranks
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.identity import flat
from cifar100x.runs.study import Folds, Study
from cifar100x.training import machine
from cifar100x.training.callbacks import (
    DurableCheckpointIO,
    FiniteLoss,
    History,
    LastCheckpoint,
    OwnSignals,
    RunProgress,
)
from cifar100x.training.learner import Learner, Outcome
from cifar100x.training.loggers import TensorBoard, ended
from cifar100x.training.needs import Needs
from cifar100x.training.task import Task, derived_seed

HPARAMS = (
    "name", "fold", "reading.name", "recipe.name", "width.name", "width.multiplier", "learning_rate", "seed",
    "data.name", "data.batch_size", "trainer.max_epochs", "trainer.precision",
)  # fmt: skip
"""Choices that TensorBoard shows beside the final metrics; config.yaml has all."""


NEEDS: dict[str, Needs] = {}
"""Found so far in this process, by what they depend on."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run: what is learnt, how long and where, and where the results go.

    Attributes:
        title: what the progress bar calls it.
        study: that it belongs to.
        run: its directory.
        config: what was chosen and found, plain; it becomes config.yaml.
        data: what metrics.json says of the images.
        learner: the network and its images.
        folds: of the study; None for a run that holds out none.
        max_epochs: how long.
        accelerator: auto, cpu or gpu.
        devices: how many of them.
        precision: float32 or bf16.
        keep_optimizer: whether the last checkpoint keeps the optimiser's state.
        loggers: makes them.
        callbacks: makes the user's.
        options: further ones of Lightning's trainer.
    """

    title: str
    study: Study
    run: RunDirectory
    config: dict[str, Any]
    data: dict[str, Any]
    learner: Learner
    folds: Folds | None
    max_epochs: int
    accelerator: str
    devices: int
    precision: str
    keep_optimizer: bool
    loggers: Callable[[], list[Logger]] = list
    callbacks: Callable[[], list[L.Callback]] = list
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """On which it is trained; of several, this process's own."""
        found = machine.resolve_device(self.accelerator)
        return torch.device(found.type, machine.rank()) if self.devices > 1 and found.type != "cpu" else found

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole training."""
        num_batches = math.ceil(self.images_per_epoch / self.learner.batch_size)
        return math.ceil(num_batches / self.options.get("accumulate_grad_batches", 1)) * self.max_epochs

    @property
    def images_per_epoch(self) -> int:
        """Training images that an epoch takes: all of them, unless `limit_train_batches` says how many batches."""
        num_images, batch_size = self.learner.num_images, self.learner.batch_size
        limit, num_batches = self.options.get("limit_train_batches"), math.ceil(num_images / batch_size)
        if limit is not None:
            num_batches = min(limit, num_batches) if isinstance(limit, int) else int(limit * num_batches)
        return min(num_images, num_batches * batch_size)


def train(job: Job, console: Console) -> str:
    """Train, evaluate and record; a finished run is skipped, an unfinished one goes on from its last checkpoint.

    Args:
        job: what is trained.
        console: shows how far it is, if it is a terminal.

    Returns:
        One line that says what came out.
    """
    if job.folds:
        job.study.share_folds(job.folds)
    with job.run.session(job.config) as unfinished:
        if unfinished:
            if job.folds:
                baseline = job.study.agreement.settle(job.config).baseline
                if baseline and baseline not in (job.config["name"], *job.study.models):
                    print(f"note: there is no run of {baseline} yet, the baseline of {job.study.path}", file=sys.stderr)
            if job.run.note:
                print(f"note: {job.run.note}", file=sys.stderr, flush=True)
            needs(job)  # what cannot be followed or counted ends here, before it is trained
            environment = machine.environment(job.device, job.precision)  # now, since the files may change meanwhile
            job.run.begin(environment)
            loggers = job.loggers()
            with ended(loggers), telling_what_is_short():
                record(job, fit(job, loggers, console), loggers, environment)
    metrics = job.run.metrics
    return (
        f"{'' if unfinished else 'skipped, already finished: '}{job.title}: {job.learner.summary(metrics)} after "
        f"epoch {metrics['epochs']}, in {metrics['train_seconds']:.0f} s ({metrics['images_per_second']:.0f} images/s)"
        f"  {job.run.path}"
    )


@contextmanager
def telling_what_is_short() -> Iterator[None]:
    """Turn it into a UserError that a GPU has not enough memory, or a batch not enough images for batch-norm."""
    try:
        yield
    except ValueError as error:
        if "Expected more than 1 value per channel when training" not in str(error):
            raise
        raise UserError(
            "a batch has one image, and this network's batch-norm needs two: choose a data.batch_size that leaves more "
            "for the last batch of an epoch"
        ) from error
    except torch.OutOfMemoryError as error:
        free, there = (f"{num_bytes / 2**30:.1f} GiB" for num_bytes in torch.cuda.mem_get_info())
        raise UserError(
            f"the GPU has not enough memory for this run ({free} of {there} are free): choose a smaller "
            "data.batch_size, trainer.precision=bf16 or fewer launch.jobs_per_gpu"
        ) from error


def needs(job: Job) -> Needs:
    """What training the network of a job takes; found once in a process for each network, batch size and precision."""
    network = json.dumps([job.config["model"], job.config["recipe"], job.learner.batch_size, job.precision])
    if network not in NEEDS:
        NEEDS[network] = job.learner.needs(job.precision)
    return NEEDS[network]


def operations(job: Job) -> float:
    """Floating-point operations of the whole training of a job."""
    return needs(job).flops_per_image * job.images_per_epoch * job.max_epochs


def fit(job: Job, loggers: list[Logger], console: Console) -> Task:
    """Train the network of a job from its last checkpoint or the start, and return it."""
    machine.keep_pages()
    machine.allow_tf32(job.precision != "float32")
    torch.manual_seed(derived_seed(*job.learner.seed))
    task = job.learner.task(job.device, job.precision, console)
    task.num_steps, task.automatic_optimization = job.num_steps, job.learner.data.steps_at_once == 1
    recipe = job.learner.recipe
    callbacks = [OwnSignals(), FiniteLoss(), *([recipe.averaging()] if recipe.averaging else []), *job.callbacks()]
    if machine.rank() == 0:
        bar = RunProgress(job.title, job.learner.shown, console)
        callbacks += [History(job.run, flat(job.config), job.images_per_epoch), bar]
    trainer = make_trainer(
        job.accelerator,
        job.devices,
        job.precision,
        max_epochs=job.max_epochs,
        logger=loggers,
        callbacks=[*callbacks, LastCheckpoint(job.run.checkpoint, job.keep_optimizer)],
        plugins=[DurableCheckpointIO(job.run)],
        **job.options,
    )
    with launching_ranks() if job.devices > 1 and machine.rank() == 0 else nullcontext():
        trainer.fit(task, job.learner.data, ckpt_path=job.run.checkpoint if job.run.checkpoint.exists() else None)
    if torch.distributed.is_initialized():  # what follows is done by one process
        torch.distributed.destroy_process_group()
    if trainer.should_stop and trainer.current_epoch < job.max_epochs:
        raise UserError(
            f"a callback stopped the training after epoch {trainer.current_epoch} of {job.max_epochs}: it goes on "
            "without that callback, in another study=NAME"
        )
    return task


def make_trainer(accelerator: str, devices: int, precision: str, **options: Any) -> L.Trainer:
    """Make a trainer that leaves files and output to our own callbacks."""
    machine.quiet()
    try:
        return L.Trainer(
            accelerator=machine.resolve_device(accelerator).type,
            devices=devices,
            strategy="auto" if devices == 1 else "ddp",
            precision=machine.PRECISIONS[precision],
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,  # the data modules give every device its share of each batch
            **{"logger": False, "deterministic": False, "benchmark": not options.get("deterministic")} | options,
        )
    except MisconfigurationException as error:
        raise UserError(f"Lightning's trainer takes no such option: {' '.join(str(error).split())}") from error


def record(job: Job, task: Task, loggers: Sequence[Logger], environment: dict[str, Any]) -> None:
    """Evaluate a trained network and write metrics, predictions, pictures and the end of the curves."""
    deterministic = job.options.get("deterministic", False)
    outcome = job.learner.evaluate(make_trainer(job.accelerator, 1, job.precision, deterministic=deterministic), task)
    refuse_divergence(outcome)
    seconds = sum(row["seconds"] for row in job.run.history) or job.run.metrics.get("train_seconds", 0.0)
    config = job.config
    metrics = {
        "study": config["study"],
        "model": config["name"],
        "reading": config.get("reading", {}).get("name"),
        "recipe": config["recipe"]["name"],
        "seed": config["seed"],
        "parameters": sum(p.numel() for p in task.net.parameters()),
        "epochs": job.max_epochs,
        "steps": job.num_steps,
        "images_per_second": job.images_per_epoch * job.max_epochs / seconds if seconds else 0.0,
        "train_seconds": seconds,
        "training_operations": operations(job),
        "data": job.data,
        "environment": environment,
        "sessions": job.run.status.get("sessions", []),
    }
    if "fold" in config:
        metrics |= {"fold": config["fold"], "folds": config["folds"]["num"]}
    if outcome.classes is not None:
        job.run.write_classes(outcome.classes)
    if outcome.pictures is not None:
        job.run.write_pictures(outcome.pictures)
    job.run.record(metrics | outcome.metrics, outcome.predictions)
    if outcome.final:
        log_end(job, outcome, loggers)


def refuse_divergence(outcome: Outcome) -> None:
    """Raise UserError if what the last step made of the network answers with no numbers: its loss was one."""
    wrong = [n for n, value in flat(outcome.metrics).items() if isinstance(value, float) and not math.isfinite(value)]
    if wrong or (outcome.predictions is not None and not np.isfinite(outcome.predictions.logits).all()):
        raise UserError(
            f"the network that was trained answers with no numbers ({', '.join(wrong) or 'its logits'}): choose a "
            "lower learning_rate, trainer.precision=float32 or recipe.gradient_clip_val, in another study=NAME"
        )


def log_end(job: Job, outcome: Outcome, loggers: Sequence[Logger]) -> None:
    """Add to the curves what is known at the end: final metrics, beside what was chosen, and figures."""
    config = flat(job.config)
    chosen = {
        key: value if isinstance(value := config[key], int | float | str) else str(value)
        for key in HPARAMS
        if key in config
    }
    final = {f"final/{name}": value for name, value in outcome.final.items()}
    for logger in loggers:
        if isinstance(logger, TensorBoard):
            logger.log_end(chosen, final, outcome.figures, job.max_epochs)
        else:
            logger.log_metrics(final, job.max_epochs)
