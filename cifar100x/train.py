"""Train one model on one fold, or the autoencoder: python -m cifar100x.train model=arch2 width=hyp3 fold=2."""

from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from cifar100x import cli, system
from cifar100x.callbacks import DurableCheckpointIO, History, LastCheckpoint, RunProgress
from cifar100x.config import NO_EFFECT
from cifar100x.jobs.job import Job, make_job
from cifar100x.tasks.task import Task, derived_seed


def train(config: DictConfig) -> None:
    """Train, evaluate and record one run; a finished one is skipped, an unfinished one goes on from its last epoch."""
    job = make_job(config)
    if system.rank() > 0:  # a process that Lightning started, for one more device of the same run
        fit(config, job)
        return
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    with job.run.session(plain, NO_EFFECT) as unfinished:
        if unfinished:
            fit_and_record(config, job)
    metrics = job.run.metrics
    print(
        f"{'' if unfinished else 'skipped, already finished: '}{job.title}: {job.summary()} after {metrics['epochs']} "
        f"epochs in {metrics['train_seconds']:.0f} s ({metrics['images_per_second']:.0f} images/s)  {job.run.path}",
        flush=True,
    )


def fit_and_record(config: DictConfig, job: Job) -> None:
    """Train the network of a job, evaluate it and write the result."""
    device = system.resolve_device(config.trainer.accelerator)
    environment = system.environment(device, config.trainer.precision)  # now, since the files may change meanwhile
    task, num_steps = fit(config, job)
    seconds = sum(row["seconds"] for row in job.run.history)
    metrics = {
        "study": config.study,
        "model": config.model.name,
        "reading": config.reading.name,
        "seed": config.seed,
        "parameters": sum(p.numel() for p in task.net.parameters()),
        "epochs": config.trainer.max_epochs,
        "steps": num_steps,
        "images_per_second": job.num_images * config.trainer.max_epochs / seconds,
        "train_seconds": seconds,
        "data": {"name": config.data.name, "fingerprint": config.data.fingerprint},
        "environment": environment,
    }
    job.record(task, make_trainer(config, devices=1), metrics)


def fit(config: DictConfig, job: Job) -> tuple[Task, int]:
    """Train the network of a job from its last checkpoint or the start; return it and the number of its steps."""
    system.keep_pages()
    system.allow_tf32(config.trainer.precision != "float32")
    torch.manual_seed(derived_seed(*job.seed))
    task = job.task()
    callbacks: list[L.Callback] = [LastCheckpoint(job.run.checkpoint, config.keep_optimizer)]
    if system.rank() == 0:
        callbacks = [History(job), RunProgress(job, Console()), *callbacks]
    trainer = make_trainer(config, config.trainer.devices, max_epochs=config.trainer.max_epochs, callbacks=callbacks)
    trainer.fit(task, job.data, ckpt_path=job.run.checkpoint if job.run.checkpoint.exists() else None)
    if torch.distributed.is_initialized():  # what follows is done by one process
        torch.distributed.destroy_process_group()
    return task, trainer.global_step


def make_trainer(config: DictConfig, devices: int, **options: Any) -> L.Trainer:
    """Make a trainer that leaves files and output to our own callbacks."""
    return L.Trainer(
        accelerator=system.resolve_device(config.trainer.accelerator).type,
        devices=devices,
        strategy="auto" if devices == 1 else "ddp",
        precision=system.PRECISIONS[config.trainer.precision],
        plugins=[DurableCheckpointIO()],
        logger=False,
        benchmark=True,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,  # the data modules give every device its share of each batch
        **options,
    )


def main() -> None:
    """Entry point of the command line."""
    cli.launch(train, "train")


if __name__ == "__main__":
    main()
