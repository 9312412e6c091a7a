"""Train one model on one fold: python -m cifar100x.train model=arch2 width=hyp3 fold=2."""

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from cifar100x import cli, system
from cifar100x.callbacks import DurableCheckpointIO, History, LastCheckpoint, RunProgress
from cifar100x.config import NO_EFFECT
from cifar100x.data.folds import k_folds
from cifar100x.data.modules import KFoldDataModule
from cifar100x.errors import UserError
from cifar100x.report.figures import most_confident_errors
from cifar100x.runs import Predictions, RunDirectory, Study, flat
from cifar100x.tasks.classify import Classifier, derived_seed


def train(config: DictConfig) -> None:
    """Train, evaluate and record one run; a finished one is skipped, an unfinished one goes on from its last epoch."""
    if config.trainer.max_epochs < 1:
        raise UserError(f"trainer.max_epochs is {config.trainer.max_epochs}, expected at least 1")
    device = system.resolve_device(config.trainer.accelerator)
    config.trainer.precision = system.resolve_precision(config.trainer.precision, device)
    store = instantiate(config.data.store)
    config.data.fingerprint = store.fingerprint
    split = store.split("train")
    folds = k_folds(split.fine, config.folds.num, config.folds.seed, config.data.limit, config.folds.stratified)
    data = KFoldDataModule(
        split,
        folds,
        fold=config.fold,
        batch_size=config.data.batch_size,
        reshuffle=config.data.reshuffle,
        seed=config.seed,
    )
    study = Study(Path(config.runs) / config.study)
    study.share_folds(folds, store.fingerprint)
    run = study.run(config.model.name, config.fold)
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    with run.session(plain, NO_EFFECT) as unfinished:
        if unfinished:
            fit_and_record(config, run, data, device, store.class_names)
    print(("skipped, already finished: " if not unfinished else "") + summary(run), flush=True)


def fit_and_record(
    config: DictConfig, run: RunDirectory, data: KFoldDataModule, device: torch.device, class_names: list[str]
) -> None:
    """Train the network of `config` on `data`, evaluate it on the held-out fold and on the training images, record."""
    system.keep_pages()
    system.allow_tf32(config.trainer.precision != "float32")
    environment = system.environment(device, config.trainer.precision)  # now, since the files may change meanwhile
    torch.manual_seed(derived_seed(config.seed, config.fold))
    task = Classifier(
        instantiate(config.model.net),
        learning_rate=config.learning_rate,
        weight_decay=config.reading.weight_decay,
        seed=(config.seed, config.fold),
    )
    trainer = L.Trainer(
        accelerator=device.type,
        devices=1,
        precision=system.PRECISIONS[config.trainer.precision],
        max_epochs=config.trainer.max_epochs,
        callbacks=[
            History(run, num_images=len(data.training)),
            RunProgress(f"{config.model.name} fold {config.fold}", Console()),
            LastCheckpoint(run.checkpoint, config.keep_optimizer),
        ],
        plugins=[DurableCheckpointIO()],
        logger=False,
        benchmark=True,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, data, ckpt_path=run.checkpoint if run.checkpoint.exists() else None)
    val_logits, train_logits = (torch.cat(batches) for batches in trainer.predict(task, data) or [])

    labels = torch.from_numpy(data.split.fine.astype(np.int64))
    val = evaluate(val_logits, labels[data.held_out])
    seconds = sum(row["seconds"] for row in run.history)
    metrics = {
        "study": config.study,
        "model": config.model.name,
        "reading": config.reading.name,
        "fold": config.fold,
        "folds": config.folds.num,
        "seed": config.seed,
        "parameters": sum(p.numel() for p in task.net.parameters()),
        "epochs": config.trainer.max_epochs,
        "steps": trainer.global_step,
        "val": val,
        "train": evaluate(train_logits, labels[data.training]),
        "images_per_second": len(data.training) * config.trainer.max_epochs / seconds,
        "train_seconds": seconds,
        "data": {"name": config.data.name, "fingerprint": config.data.fingerprint},
        "environment": environment,
    }
    predictions = Predictions(data.held_out, labels[data.held_out].numpy(), val_logits.numpy())
    run.record(metrics, predictions)
    write_tensorboard(run, predictions, data, class_names)


def evaluate(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy (a fraction), mean cross-entropy (nats) and count of logits (N, C) against labels (N,)."""
    return {
        "accuracy": (logits.argmax(1) == labels).float().mean().item(),
        "cross_entropy": F.cross_entropy(logits.double(), labels).item(),
        "count": len(labels),
    }


def write_tensorboard(
    run: RunDirectory, predictions: Predictions, data: KFoldDataModule, class_names: list[str]
) -> None:
    """Add to the curves what is known at the end: the hparams table with final metrics, and the worst errors."""
    writer = SummaryWriter(str(run.path))
    chosen = {
        key: value if isinstance(value, int | float | str) else str(value) for key, value in flat(run.config).items()
    }
    final = {f"final/{name}": run.metrics["val"][name] for name in ("accuracy", "cross_entropy")}
    writer.add_hparams(chosen, final, run_name=".", global_step=run.metrics["epochs"])
    figure = most_confident_errors(
        data.split.images[predictions.index], predictions.label, predictions.logits, class_names
    )
    writer.add_figure("most confident errors", figure, run.metrics["epochs"])
    writer.close()


def summary(run: RunDirectory) -> str:
    """One line on a finished run."""
    metrics = run.metrics
    return (
        f"{metrics['model']} fold {metrics['fold']}: accuracy {metrics['val']['accuracy']:.4f}, "
        f"cross-entropy {metrics['val']['cross_entropy']:.3f} after {metrics['epochs']} epochs in "
        f"{metrics['train_seconds']:.0f} s ({metrics['images_per_second']:.0f} images/s)  {run.path}"
    )


def main() -> None:
    """Entry point of the command line."""
    cli.launch(train, "train")


if __name__ == "__main__":
    main()
