"""Batches for training, validation and prediction, cut from an image store in memory."""

from collections.abc import Iterator, Sequence

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cifar100x.data.store import Split
from cifar100x.errors import UserError

EVAL_BATCH_SIZE = 500

Batch = tuple[Tensor, Tensor]
"""Images uint8 (N, 3, 32, 32) and labels int64 (N,), on the device of the run."""


class ImagesInMemory(Dataset):
    """Whole batches by their indices: one gather, no per-image Python."""

    def __init__(self, images: Tensor, labels: Tensor):
        self.images, self.labels = images, labels

    def __getitem__(self, index: Tensor) -> Batch:
        return self.images[index], self.labels[index]


class BatchSampler(Sampler[Tensor]):
    """Index tensors of one batch each.

    The order of an epoch is a function of (seed, epoch), so that a resumed run sees the batches that an uninterrupted
    one would have seen. Lightning calls `set_epoch` before each.

    Args:
        indices: (N,) on the device of the images.
        batch_size: the last batch may be smaller.
        seed: None keeps the order of `indices` in every epoch.
    """

    def __init__(self, indices: Tensor, batch_size: int, seed: Sequence[int] | None = None):
        self.indices, self.batch_size, self.seed, self.epoch = indices, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        indices = self.indices
        if self.seed is not None:
            order = np.random.default_rng([*self.seed, self.epoch]).permutation(len(indices))
            indices = indices[torch.from_numpy(order).to(indices.device)]
        yield from indices.split(self.batch_size)


class KFoldDataModule(L.LightningDataModule):
    """One fold held out, the others for training.

    The images move to the run's device once, as uint8: 154 MB for CIFAR-100. `predict_dataloader` gives the held-out
    fold, then the training images, both in the order of their index arrays.

    Args:
        split: images and labels that the folds index.
        folds: K disjoint index arrays.
        fold: which of them is held out.
        batch_size: images a training step.
        reshuffle: whether training batches are drawn anew every epoch.
        seed: of the reshuffling.

    Raises:
        UserError: no such fold, or no such batch size.
    """

    def __init__(
        self, split: Split, folds: Sequence[np.ndarray], *, fold: int, batch_size: int, reshuffle: bool, seed: int
    ):
        super().__init__()
        if not 0 <= fold < len(folds):
            raise UserError(f"fold is {fold}, expected 0..{len(folds) - 1}")
        if batch_size < 1:
            raise UserError(f"data.batch_size is {batch_size}, expected at least 1")
        self.split = split
        self.held_out = folds[fold]
        self.training = np.concatenate([indices for i, indices in enumerate(folds) if i != fold])
        self.batch_size = batch_size
        self.shuffle_seed = (seed, fold) if reshuffle else None

    def setup(self, stage: str) -> None:
        """Move the images to the device, once."""
        if not hasattr(self, "images"):
            assert self.trainer is not None
            device = self.trainer.strategy.root_device
            labels = torch.from_numpy(self.split.fine.astype(np.int64)).to(device)
            self.images = ImagesInMemory(torch.from_numpy(np.array(self.split.images)).to(device), labels)

    def train_dataloader(self) -> DataLoader:
        """Batches of the training images."""
        return self._loader(self.training, self.batch_size, self.shuffle_seed)

    def val_dataloader(self) -> DataLoader:
        """Batches of the held-out fold."""
        return self._loader(self.held_out, EVAL_BATCH_SIZE)

    def predict_dataloader(self) -> list[DataLoader]:
        """Batches of the held-out fold and of the training images, in order."""
        return [self._loader(indices, EVAL_BATCH_SIZE) for indices in (self.held_out, self.training)]

    def _loader(self, indices: np.ndarray, batch_size: int, seed: Sequence[int] | None = None) -> DataLoader:
        on_device = torch.from_numpy(indices).to(self.images.images.device)
        # A generator of its own: else the loader draws from the one that dropout uses, at times that resuming changes
        sampler = BatchSampler(on_device, batch_size, seed)
        return DataLoader(self.images, sampler=sampler, batch_size=None, generator=torch.Generator())
