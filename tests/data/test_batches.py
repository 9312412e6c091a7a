"""Batches from disk: every image once, in an order that is a function of (seed, epoch)."""

from itertools import chain, pairwise
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch

from cifar100x.data.batches import BlockShuffledBatches, KFoldDataModule, UnlabelledDataModule
from cifar100x.data.store import Split
from cifar100x.errors import UserError

N = 1000
IMAGES = np.zeros((N, 3, 32, 32), np.uint8)
IMAGES[:, 0, 0, 0], IMAGES[:, 0, 0, 1] = np.divmod(np.arange(N), 256)  # every image says which it is


def numbers(batch: torch.Tensor) -> list[int]:
    return (batch[:, 0, 0, 0].long() * 256 + batch[:, 0, 0, 1]).tolist()


def flat(batches) -> list[int]:
    return list(chain.from_iterable(batches))


def batches(seed=(1,), epoch=0, window=200, block=10, indices=None, opened=None) -> list[list[int]]:
    def open_images():
        if opened is not None:
            opened.append(1)
        return IMAGES

    indices = np.arange(N) if indices is None else indices
    loader = BlockShuffledBatches(
        open_images, indices, 30, seed, lambda: epoch, torch.device("cpu"), window=window, block=block
    )
    made = [numbers(batch) for batch in loader]
    assert len(made) == len(loader)
    return made


def test_every_image_once_in_whole_batches():
    made = batches()
    assert [len(batch) for batch in made] == [30] * 33 + [10]
    assert sorted(flat(made)) == list(range(N))


def test_the_order_is_a_function_of_seed_and_epoch():
    assert batches() == batches()
    assert batches() != batches(epoch=1)
    assert batches() != batches(seed=(2,))
    assert flat(batches(seed=None)) == list(range(N))


def test_images_of_far_off_blocks_meet_in_a_batch():
    """The mean distance of two random images is N / 3; one long window is a plain shuffle."""
    for window in (200, N):
        distances = [abs(a - b) for batch in batches(window=window) for a, b in pairwise(batch)]
        assert 0.25 * N < np.mean(distances) < 0.4 * N


def test_a_window_holds_whole_blocks_and_a_map_of_its_own():
    opened = []
    made = flat(batches(window=210, block=10, opened=opened))
    assert len(opened) == -(-N // 210)
    for start in range(0, N - 210, 210):
        window = sorted(made[start : start + 210])
        assert all(number % 10 == i % 10 for i, number in enumerate(window)), "blocks of ten neighbours"


def test_only_the_indices_asked_for():
    odd = np.arange(1, N, 2)
    assert sorted(flat(batches(indices=odd))) == odd.tolist()


def data_module(**changes) -> UnlabelledDataModule:
    options = {"held_out": 100, "batch_size": 30, "reshuffle": True, "seed": 0} | changes
    module = UnlabelledDataModule(lambda: IMAGES, **options)
    module.trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    return module


def test_held_out_images_are_not_trained_on():
    module = data_module()
    training = flat(map(numbers, module.train_dataloader()))
    held_out = flat(map(numbers, module.val_dataloader()))
    assert (len(training), len(held_out)) == (900, 100)
    assert sorted(training + held_out) == list(range(N))
    assert np.std(held_out) > N / 5, "drawn from all over the set"


def test_the_seed_draws_what_is_held_out_and_the_order():
    a, b = data_module(), data_module(seed=1)
    assert set(a.held_out) != set(b.held_out)
    assert a.shuffle_seed != b.shuffle_seed


def test_batches_that_are_not_drawn_anew():
    module = data_module(reshuffle=False)
    assert flat(map(numbers, module.train_dataloader())) == module.training.tolist()
    split = Split(IMAGES, np.zeros(N, np.uint8), np.zeros(N, np.uint8))
    folds = np.split(np.random.default_rng(0).permutation(N), 4)
    for reshuffle in (False, True):
        of_folds = KFoldDataModule(split, folds, fold=0, batch_size=30, reshuffle=reshuffle, seed=(0,))
        of_folds.trainer = module.trainer
        of_folds.setup("fit")
        in_order = flat(numbers(images) for images, _ in of_folds.train_dataloader())
        assert (in_order == np.concatenate(folds[1:]).tolist()) == (not reshuffle)


def test_every_device_has_its_share_of_each_batch_of_pretraining():
    module = data_module(reshuffle=False, batch_size=40)
    shares = []
    for rank in range(2):
        module.trainer = SimpleNamespace(
            global_rank=rank, world_size=2, current_epoch=0, strategy=SimpleNamespace(root_device=torch.device("cpu"))
        )
        shares.append(list(map(numbers, module.train_dataloader())))
    assert [len(batch) for batch in shares[0]] == [20] * 22 + [10]
    assert [sorted(a + b) for a, b in zip(*shares, strict=True)] == [
        module.training[start : start + 40].tolist() for start in range(0, 900, 40)
    ]


def test_limit_counts_held_out_images_too():
    module = data_module(limit=300)
    assert (len(module.training), len(module.held_out)) == (200, 100)


def test_mean_image():
    module = data_module()
    expected = IMAGES[module.training].astype(float).mean(axis=0) / 255
    np.testing.assert_allclose(module.mean_image(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"held_out": 0}, r"held_out is 0, expected 1..999"),
        ({"held_out": 1000}, r"held_out is 1000, expected 1..999"),
        ({"held_out": 50, "limit": 50}, r"held_out is 50, expected 1..49"),
        ({"limit": 1001}, r"data.limit is 1001, expected 2..1000"),
        ({"batch_size": 0}, r"data.batch_size is 0"),
    ],
)
def test_impossible_numbers(changes, message):
    with pytest.raises(UserError, match=message):
        data_module(**changes)
