"""A classifier on one fold."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from cifar100x import system
from cifar100x.data.folds import repeated_k_folds
from cifar100x.data.modules import KFoldDataModule
from cifar100x.errors import UserError
from cifar100x.jobs.job import Job
from cifar100x.jobs.pretraining import PretrainedEncoder
from cifar100x.needs import Needs, needs_of
from cifar100x.nets.transfer import TransferNet
from cifar100x.report.confusions import most_confident_errors
from cifar100x.runs import Predictions, RunDirectory, Study, flat
from cifar100x.tasks.classify import Classifier, CodeClassifier, encode
from cifar100x.tasks.task import Task

HPARAMS = (
    "model.name", "fold", "reading.name", "width.name", "width.multiplier", "learning_rate", "seed", "data.name",
    "data.batch_size", "trainer.max_epochs", "trainer.precision",
)  # fmt: skip
"""Choices that TensorBoard shows beside the final metrics; config.yaml has all."""


class Classification(Job):
    """Train on all folds but one and classify that one; where no fold is held out, train on all images."""

    data: KFoldDataModule

    def __init__(self, config: DictConfig):
        self.config = config
        store = instantiate(config.data.store)
        config.data.fingerprint = store.fingerprint
        self.class_names = store.class_names
        self.run = self.directory(config)
        study = Study(Path(config.runs) / config.study)
        split, cut = store.split("train"), config.folds
        self.whole = config.fold is None
        if self.whole:
            self.folds, fold = [np.arange(0), np.arange(len(split.fine))], 0
            self.title = f"{config.model.name} on all images"
        else:
            of_all = repeated_k_folds(split.fine, cut.num, cut.repeats, cut.seed, config.data.limit, cut.stratified)
            if not 0 <= config.fold < len(of_all):
                raise UserError(f"fold is {config.fold}, expected 0..{len(of_all) - 1}")
            repetition, fold = divmod(config.fold, cut.num)
            self.folds = of_all[repetition * cut.num : (repetition + 1) * cut.num]
            self.title = f"{config.model.name} fold {config.fold}"
        self.data = KFoldDataModule(
            split,
            self.folds,
            fold=fold,
            batch_size=config.data.batch_size,
            reshuffle=config.data.reshuffle,
            seed=config.seed,
        )
        if not self.whole:
            study.share_folds(of_all, store.fingerprint)
        self.num_images = len(self.data.training)
        self.images_bytes = split.images.nbytes
        self.seed = (config.seed, 0 if self.whole else config.fold)
        self.stage = "train" if self.whole else "val"
        self.shown = (f"{self.stage}/accuracy", f"{self.stage}/cross_entropy")

    @staticmethod
    def directory(config: DictConfig) -> RunDirectory:
        """That of the model and fold, or of the study's final model where no fold is held out."""
        study = Study(Path(config.runs) / config.study)
        return study.final if config.fold is None else study.run(config.model.name, config.fold)

    def net(self) -> nn.Module:
        """Make the network."""
        return instantiate(self.config.model.net)

    def task(self) -> Classifier:
        """Make the classifier."""
        return Classifier(self.net(), **self._options())

    def _options(self) -> dict[str, Any]:
        return {
            "learning_rate": self.config.learning_rate,
            "weight_decay": self.config.reading.weight_decay,
            "seed": self.seed,
        }

    def record(self, task: Task, trainer: L.Trainer, metrics: dict[str, Any]) -> None:
        """Evaluate on the held-out fold, if there is one, and on the training images."""
        loaders = self.data.predict_dataloader()
        logits = [torch.cat(trainer.predict(task, loader)) for loader in loaders]  # type: ignore[arg-type]
        labels = torch.from_numpy(self.data.split.fine.astype(np.int64))
        metrics |= {"fold": self.config.fold, "folds": self.config.folds.num}
        metrics["train"] = evaluate(logits[-1], labels[self.data.training])
        predictions = None
        if not self.whole:
            held_out = self.data.held_out
            metrics["val"] = evaluate(logits[0], labels[held_out])
            predictions = Predictions(held_out, labels[held_out].numpy(), logits[0].numpy())
        self.run.record(metrics, predictions)
        self._write_tensorboard(predictions)

    def _write_tensorboard(self, predictions: Predictions | None) -> None:
        """Add to the curves what is known at the end: the hparams table with final metrics, and the worst errors."""
        run = self.run
        writer = SummaryWriter(str(run.path))
        config = flat(run.config)
        chosen = {key: value if isinstance(value := config[key], int | float | str) else str(value) for key in HPARAMS}
        final = {f"final/{name}": run.metrics[self.stage][name] for name in ("accuracy", "cross_entropy")}
        writer.add_hparams(chosen, final, run_name=".", global_step=run.metrics["epochs"])
        if predictions is not None:
            images = self.data.split.images[predictions.index]
            figure = most_confident_errors(images, predictions.label, predictions.logits, self.class_names)
            writer.add_figure("most confident errors", figure, run.metrics["epochs"])
        writer.close()

    def summary(self) -> str:
        """Accuracy and cross-entropy."""
        found = self.run.metrics[self.stage]
        where = " of its own training images" if self.whole else ""
        return f"accuracy {found['accuracy']:.4f}, cross-entropy {found['cross_entropy']:.3f}{where}"


class Transfer(Classification):
    """A classifier on a pre-trained encoder, retrained with it or frozen.

    Raises:
        UserError: there is no finished pre-training, or its encoder is another one.
    """

    def __init__(self, config: DictConfig):
        self.encoder = PretrainedEncoder(RunDirectory(Path(config.model.encoder)), config)
        super().__init__(config)
        config.model.encoder_fingerprint = self.encoder.fingerprint

    def net(self) -> TransferNet:
        """Make the network, without the weights of the encoder."""
        return instantiate(self.config.model.net)

    def needs(self) -> Needs:
        """Find what training will take: steps of the head alone, on codes, where the encoder is frozen."""
        needs, net = super().needs(), self.net()
        if not net.frozen:
            return needs
        head = needs_of(lambda: self.net().head, (net.encoder.num_units,), self.data.batch_size, "float32")
        return replace(needs, flops_per_image=head.flops_per_image)

    def task(self) -> Classifier:
        """Make the classifier; with a frozen encoder, encode all images here and now and train on their codes."""
        net = self.net()
        self.encoder.load_into(net.encoder)
        if not net.frozen:
            return Classifier(net, **self._options())
        device = system.resolve_device(self.config.trainer.accelerator)
        images = torch.from_numpy(np.array(self.data.split.images))
        self.data.inputs = encode(net.encoder, images, device, self.config.trainer.precision)
        return CodeClassifier(net, **self._options())


def evaluate(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy (a fraction), mean cross-entropy (nats) and count of logits (N, C) against labels (N,)."""
    return {
        "accuracy": (logits.argmax(1) == labels).float().mean().item(),
        "cross_entropy": F.cross_entropy(logits.double(), labels).item(),
        "count": len(labels),
    }
