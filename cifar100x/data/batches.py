"""Batches for training, validation and prediction, cut from an image store."""

from collections.abc import Callable, Iterator, Sequence

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cifar100x.data.store import EVAL_BATCH_SIZE, Split
from cifar100x.errors import UserError

Batch = tuple[Tensor, Tensor]
"""Images uint8 (N, 3, 32, 32) and labels int64 (N,), on the device of the run."""


def share_of(trainer: L.Trainer | None) -> slice:
    """What this process takes of each batch: one in so many, if a run is on several devices."""
    assert trainer is not None
    return slice(trainer.global_rank, None, trainer.world_size)


class ImagesInMemory(Dataset):
    """Whole batches by their indices: one gather, no per-image Python."""

    def __init__(self, images: Tensor, labels: Tensor):
        self.images, self.labels = images, labels

    def __getitem__(self, index: Tensor) -> Batch:
        # several times faster than [index]
        return self.images.index_select(0, index), self.labels.index_select(0, index)


class BatchSampler(Sampler[Tensor]):
    """Index tensors of one batch each.

    The order of an epoch is a function of (seed, epoch), so that a resumed run sees the batches that an uninterrupted
    one would have seen. Lightning calls `set_epoch` before each.

    Args:
        indices: (N,) on the device of the images.
        batch_size: the last batch may be smaller.
        seed: None keeps the order of `indices` in every epoch.
        share: of each batch, for one of several devices; all of it by default.
    """

    def __init__(self, indices: Tensor, batch_size: int, seed: Sequence[int] | None = None, share: slice = slice(None)):
        self.indices, self.batch_size, self.seed, self.share, self.epoch = indices, batch_size, seed, share, 0

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
        for batch in indices.split(self.batch_size):
            yield batch[self.share]


class KFoldDataModule(L.LightningDataModule):
    """One fold held out, the others for training.

    The images move to the run's device once, as uint8: 154 MB for CIFAR-100. `predict_dataloader` gives the held-out
    fold, then the training images, both in the order of their index arrays. Before that, `inputs` may be replaced by
    anything else that a network is to see of each image, as by the codes of an encoder that does not change.

    Args:
        split: images and labels that the folds index.
        folds: K disjoint index arrays.
        fold: which of them is held out.
        batch_size: images a training step.
        reshuffle: whether training batches are drawn anew every epoch.
        seed: of the reshuffling, with the epoch.
        steps_at_once: training batches that come together, as one.

    Raises:
        UserError: no such fold, or no such batch size.
    """

    def __init__(
        self,
        split: Split,
        folds: Sequence[np.ndarray],
        *,
        fold: int,
        batch_size: int,
        reshuffle: bool,
        seed: Sequence[int],
        steps_at_once: int = 1,
    ):
        super().__init__()
        if not 0 <= fold < len(folds):
            raise UserError(f"fold is {fold}, expected 0..{len(folds) - 1}")
        if batch_size < 1:
            raise UserError(f"data.batch_size is {batch_size}, expected at least 1")
        self.split = split
        self.inputs: np.ndarray | Tensor = split.images
        self.held_out = folds[fold]
        self.training = np.concatenate([indices for i, indices in enumerate(folds) if i != fold])
        self.batch_size, self.steps_at_once = batch_size, steps_at_once
        self.shuffle_seed = tuple(seed) if reshuffle else None

    def channel_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each channel of the training images, (3,) in 0..1; 1 for one that is flat."""
        sums, squares = np.zeros(3), np.zeros(3)
        for rows in np.split(self.training, range(EVAL_BATCH_SIZE, len(self.training), EVAL_BATCH_SIZE)):
            values = self.split.images[rows] / 255
            sums += values.sum((0, 2, 3))
            squares += np.square(values).sum((0, 2, 3))
        count = len(self.training) * self.split.images[0, 0].size
        mean = sums / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        return mean, np.where(deviation > 0, deviation, 1.0)

    def setup(self, stage: str) -> None:
        """Move the inputs to the device, once."""
        if not hasattr(self, "images"):
            assert self.trainer is not None
            device = self.trainer.strategy.root_device
            labels = torch.from_numpy(self.split.fine.astype(np.int64)).to(device)
            inputs = self.inputs if isinstance(self.inputs, Tensor) else torch.from_numpy(np.array(self.inputs))
            self.images = ImagesInMemory(inputs.to(device), labels)

    def train_dataloader(self) -> DataLoader:
        """Batches of the training images."""
        num_images = self.batch_size * self.steps_at_once
        return self._loader(self.training, num_images, self.shuffle_seed, share_of(self.trainer))

    def val_dataloader(self) -> list[DataLoader]:
        """Batches of the held-out fold, if it holds any images."""
        return self._held_out(share_of(self.trainer))

    def predict_dataloader(self) -> list[DataLoader]:
        """Batches of the held-out fold, if it holds any images, and of the training images, in order."""
        return [*self._held_out(), self._loader(self.training, EVAL_BATCH_SIZE)]

    def _held_out(self, share: slice = slice(None)) -> list[DataLoader]:
        return [self._loader(self.held_out, EVAL_BATCH_SIZE, share=share)] if len(self.held_out) else []

    def _loader(
        self, indices: np.ndarray, batch_size: int, seed: Sequence[int] | None = None, share: slice = slice(None)
    ) -> DataLoader:
        on_device = torch.from_numpy(indices).to(self.images.images.device)
        # A generator of its own: else the loader draws from the one that dropout uses, at times that resuming changes
        sampler = BatchSampler(on_device, batch_size, seed, share)
        return DataLoader(self.images, sampler=sampler, batch_size=None, generator=torch.Generator())


BLOCK_IMAGES = 128  # 400 kB
WINDOW_IMAGES = 128 * BLOCK_IMAGES


class BlockShuffledBatches:
    """Batches of images that stay on disk, in an order that is a function of (seed, epoch).

    The images are cut into blocks of neighbours, the blocks are permuted, the sequence is cut into windows, and each
    window is permuted: the disk is read by whole blocks, and images of far-off blocks still meet in a batch. A set
    smaller than a window is permuted as a whole.

    Args:
        open_images: opens a map of uint8 (N, 3, 32, 32); called anew for each window, so that only the pages of one
            are held.
        indices: which of them are used, ascending.
        batch_size: only the last batch may be smaller.
        seed: None keeps the order of `indices` in every epoch.
        epoch: tells the epoch when one begins.
        device: where batches are wanted.
        window: images in a window; rounded up to whole batches.
        block: neighbours that stay in one window.
        share: of each batch, as in `BatchSampler`.
        at_once: batches that come together, as one; those of two windows do not.
    """

    def __init__(
        self,
        open_images: Callable[[], np.ndarray],
        indices: np.ndarray,
        batch_size: int,
        seed: Sequence[int] | None,
        epoch: Callable[[], int],
        device: torch.device,
        window: int = WINDOW_IMAGES,
        block: int = BLOCK_IMAGES,
        share: slice = slice(None),
        at_once: int = 1,
    ):
        self.open_images, self.indices, self.batch_size, self.seed = open_images, indices, batch_size, seed
        self.epoch, self.device, self.share = epoch, device, share
        self.window, self.block = -(-window // batch_size) * batch_size, block
        self.chunk = batch_size * at_once

    def __len__(self) -> int:
        num_windows, rest = divmod(len(self.indices), self.window)
        return num_windows * -(-self.window // self.chunk) + -(-rest // self.chunk)

    def __iter__(self) -> Iterator[Tensor]:
        """Yield batches uint8 (N, 3, 32, 32) on the device."""
        order = torch.from_numpy(self.order(self.epoch()))
        for window in order.split(self.window):
            images = torch.from_numpy(self.open_images())
            for batch in window.split(self.chunk):
                chosen = images.index_select(0, batch[self.share])
                on_cuda = self.device.type == "cuda"  # which copies from pinned memory while the next steps are queued
                yield (chosen.pin_memory() if on_cuda else chosen).to(self.device, non_blocking=on_cuda)

    def order(self, epoch: int) -> np.ndarray:
        """The indices in the order of an epoch."""
        if self.seed is None:
            return self.indices
        generator = np.random.default_rng([*self.seed, epoch])
        blocks = np.split(self.indices, range(self.block, len(self.indices), self.block))
        sequence = np.concatenate([blocks[i] for i in generator.permutation(len(blocks))])
        windows = np.split(sequence, range(self.window, len(sequence), self.window))
        return np.concatenate([generator.permutation(window) for window in windows])


class UnlabelledDataModule(L.LightningDataModule):
    """Images without labels for pre-training, some of them held out.

    Args:
        open_images: opens uint8 (N, 3, 32, 32); they stay on disk.
        held_out: how many are kept out of training, drawn at random.
        batch_size: images a training step.
        reshuffle: whether training batches are drawn anew every epoch.
        seed: of the drawing and the reshuffling.
        limit: use only so many images, held-out ones included: the first of the permutation that draws those.
        steps_at_once: training batches that come together, as one.

    Raises:
        UserError: no such numbers of images.
    """

    def __init__(
        self,
        open_images: Callable[[], np.ndarray],
        *,
        held_out: int,
        batch_size: int,
        reshuffle: bool,
        seed: int,
        limit: int | None = None,
        steps_at_once: int = 1,
    ):
        super().__init__()
        there = len(open_images())
        if limit is not None and not 2 <= limit <= there:
            raise UserError(f"data.limit is {limit}, expected 2..{there} (the images there are)")
        if not 1 <= held_out < (limit or there):
            raise UserError(f"held_out is {held_out}, expected 1..{(limit or there) - 1} (one image fewer than used)")
        if batch_size < 1:
            raise UserError(f"data.batch_size is {batch_size}, expected at least 1")
        order = np.random.default_rng(seed).permutation(there)[:limit]
        self.open_images = open_images
        self.held_out, self.training = np.sort(order[:held_out]), np.sort(order[held_out:])
        self.batch_size, self.steps_at_once = batch_size, steps_at_once
        self.shuffle_seed = (seed,) if reshuffle else None

    def mean_image(self) -> Tensor:
        """Mean of the training images, (3, 32, 32) in 0..1."""
        total = torch.zeros(3, 32, 32, dtype=torch.int64)
        for rows in np.split(self.training, range(WINDOW_IMAGES, len(self.training), WINDOW_IMAGES)):
            total += torch.from_numpy(self.open_images()[rows]).sum(0)
        return (total.double() / len(self.training) / 255).float()

    def train_dataloader(self) -> BlockShuffledBatches:
        """Batches of the training images."""
        return self._batches(self.training, self.batch_size, self.shuffle_seed, self.steps_at_once)

    def val_dataloader(self) -> BlockShuffledBatches:
        """Batches of the held-out images."""
        return self._batches(self.held_out, EVAL_BATCH_SIZE, None)

    def _batches(
        self, indices: np.ndarray, batch_size: int, seed: Sequence[int] | None, at_once: int = 1
    ) -> BlockShuffledBatches:
        assert self.trainer is not None
        trainer = self.trainer
        return BlockShuffledBatches(
            self.open_images,
            indices,
            batch_size,
            seed,
            lambda: trainer.current_epoch,
            trainer.strategy.root_device,
            share=share_of(trainer),
            at_once=at_once,
        )
