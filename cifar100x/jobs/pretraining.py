"""The pre-training of an autoencoder, and its encoder as others use it."""

import hashlib
import io
import math
from pathlib import Path
from typing import Any

import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig
from torchvision.utils import save_image

from cifar100x.data.modules import WINDOW_IMAGES, UnlabelledDataModule
from cifar100x.data.store import IMAGE_SHAPE
from cifar100x.errors import UserError
from cifar100x.jobs.job import Job
from cifar100x.nets.autoencoder import Autoencoder, Encoder, load_encoder
from cifar100x.runs import RunDirectory, Study
from cifar100x.tasks.reconstruct import Reconstructor
from cifar100x.tasks.task import Task
from cifar100x.trained import weights


class Pretraining(Job):
    """Train an autoencoder on images without their labels."""

    data: UnlabelledDataModule
    shown = ("val/reconstruction", "val/error_ratio", "val/active_units")

    def __init__(self, config: DictConfig):
        self.config = config
        store = instantiate(config.data.store)
        config.data.fingerprint = store.fingerprint
        self.data = UnlabelledDataModule(
            lambda: store.images("train"),
            held_out=config.held_out,
            batch_size=config.data.batch_size,
            reshuffle=config.data.reshuffle,
            seed=config.seed,
            limit=config.data.limit,
        )
        self.origins = store.manifest["origins"]
        self.title = config.model.name
        self.run = self.directory(config)
        self.num_images = len(self.data.training)
        self.images_bytes = min(self.num_images, WINDOW_IMAGES) * math.prod(IMAGE_SHAPE)
        self.seed = (config.seed,)

    @staticmethod
    def directory(config: DictConfig) -> RunDirectory:
        """That of the study's pre-training."""
        return Study(Path(config.runs) / config.study).pretraining

    def net(self) -> Autoencoder:
        """Make the autoencoder."""
        return instantiate(self.config.model.net)

    def task(self) -> Reconstructor:
        """Make the autoencoder and its loss."""
        return Reconstructor(
            self.net(),
            self.data.mean_image(),
            learning_rate=self.config.learning_rate,
            weight_decay=self.config.reading.weight_decay,
            sparsity_weight=self.config.sparsity.weight,
            sparsity_reduction=self.config.sparsity.reduction,
            seed=self.seed,
        )

    def record(self, task: Task, trainer: L.Trainer, metrics: dict[str, Any]) -> None:
        """Judge the autoencoder on the held-out images and say whether its code has collapsed."""
        (logged,) = trainer.validate(task, self.data, verbose=False)
        val = {name.removeprefix("val/"): value for name, value in logged.items() if name.startswith("val/")}
        metrics["data"] |= {"origins": self.origins}
        metrics["val"] = val | {"count": len(self.data.held_out)}
        metrics["collapsed"] = is_collapsed(**val)
        assert isinstance(task, Reconstructor)
        png = io.BytesIO()
        save_image(task.shown, png, format="png")
        self.run.write_pictures(png.getvalue())
        self.run.record(metrics)

    def summary(self) -> str:
        """Reconstruction, activity, and a warning where there is nothing to transfer."""
        metrics = self.run.metrics
        val = metrics["val"]
        warning = (
            "COLLAPSED, the code says next to nothing about the image (try sparsity.reduction=mean or a smaller "
            "sparsity.weight in another study), "
        )
        return (
            f"{warning if metrics['collapsed'] else ''}reconstruction error {val['reconstruction']:.4f}, "
            f"{val['error_ratio']:.2f} of the mean image's, {val['active_units']:.0%} of the units active"
        )


def is_collapsed(*, error_ratio: float, active_units: float, **_: float) -> bool:
    """Whether a code says next to nothing of the image: no better than the mean image, or hardly a unit that varies."""
    return error_ratio > 0.95 or active_units < 0.01


class PretrainedEncoder:
    """The encoder of a finished pre-training.

    Args:
        run: of the pre-training.
        config: of who wants it, to name the command that makes it.

    Raises:
        UserError: the pre-training is not finished.
    """

    def __init__(self, run: RunDirectory, config: DictConfig):
        state = run.status.get("state")
        if state != "done":
            found = f"the pre-training in {run.path} is {state}" if state else f"there is no pre-training in {run.path}"
            raise UserError(
                f"{found}: make it with python -m cifar100x.train experiment={config.pretraining} study={config.study} "
                f"runs={config.runs}, or name another with model.encoder=/path/to/run"
            )
        self.source = run.checkpoint
        self.weights = weights(run, "net.encoder.")

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names and values of all tensors, batch-norm statistics included."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights.items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        return digest.hexdigest()

    def load_into(self, encoder: Encoder) -> None:
        """Give an encoder these weights.

        Raises:
            UserError: it is another encoder.
        """
        load_encoder(encoder, self.weights, str(self.source))
