"""Train one model on one fold, or the autoencoder: python -m cifar100x.train model=arch2 width=hyp3 fold=2."""

from typing import Any

import lightning as L
import torch
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from cifar100x import cli, system
from cifar100x.callbacks import DurableCheckpointIO, History, LastCheckpoint, RunProgress
from cifar100x.config import NO_EFFECT
from cifar100x.errors import UserError
from cifar100x.jobs.job import Job
from cifar100x.tasks.task import derived_seed


def train(config: DictConfig) -> None:
    """Train, evaluate and record one run; a finished one is skipped, an unfinished one goes on from its last epoch."""
    if config.trainer.max_epochs < 1:
        raise UserError(f"trainer.max_epochs is {config.trainer.max_epochs}, expected at least 1")
    device = system.resolve_device(config.trainer.accelerator)
    config.trainer.precision = system.resolve_precision(config.trainer.precision, device)
    job: Job = get_class(config.model.job)(config)
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    with job.run.session(plain, NO_EFFECT) as unfinished:
        if unfinished:
            fit_and_record(config, job, device)
    metrics = job.run.metrics
    print(
        f"{'' if unfinished else 'skipped, already finished: '}{job.title}: {job.summary()} after {metrics['epochs']} "
        f"epochs in {metrics['train_seconds']:.0f} s ({metrics['images_per_second']:.0f} images/s)  {job.run.path}",
        flush=True,
    )


def fit_and_record(config: DictConfig, job: Job, device: torch.device) -> None:
    """Train the network of a job from its last checkpoint or the start, evaluate it and write the result."""
    system.keep_pages()
    system.allow_tf32(config.trainer.precision != "float32")
    environment = system.environment(device, config.trainer.precision)  # now, since the files may change meanwhile
    torch.manual_seed(derived_seed(*job.seed))
    task = job.task()
    trainer = L.Trainer(
        accelerator=device.type,
        devices=1,
        precision=system.PRECISIONS[config.trainer.precision],
        max_epochs=config.trainer.max_epochs,
        callbacks=[
            History(job),
            RunProgress(job, Console()),
            LastCheckpoint(job.run.checkpoint, config.keep_optimizer),
        ],
        plugins=[DurableCheckpointIO()],
        logger=False,
        benchmark=True,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, job.data, ckpt_path=job.run.checkpoint if job.run.checkpoint.exists() else None)
    seconds = sum(row["seconds"] for row in job.run.history)
    metrics = {
        "study": config.study,
        "model": config.model.name,
        "reading": config.reading.name,
        "seed": config.seed,
        "parameters": sum(p.numel() for p in task.net.parameters()),
        "epochs": config.trainer.max_epochs,
        "steps": trainer.global_step,
        "images_per_second": job.num_images * config.trainer.max_epochs / seconds,
        "train_seconds": seconds,
        "data": {"name": config.data.name, "fingerprint": config.data.fingerprint},
        "environment": environment,
    }
    job.record(task, trainer, metrics)


def main() -> None:
    """Entry point of the command line."""
    cli.launch(train, "train")


if __name__ == "__main__":
    main()
