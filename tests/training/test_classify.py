"""The optimiser and the metrics of classification against their definitions."""

from itertools import product
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch import nn
from torch.nn import functional as F

from cifar100x.data.batches import KFoldDataModule
from cifar100x.data.store import Split
from cifar100x.training.classify import Classifier, evaluate
from cifar100x.training.recipe import Recipe
from cifar100x.training.task import derived_seed


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(3 * 32 * 32, 100)

    def forward(self, x):
        return self.dense(x.flatten(1))


def split(count=90):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 100, count).astype(np.uint8)
    return Split(generator.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), labels, labels // 5)


def fitted(task, epochs=2, **options):
    folds = np.array_split(np.arange(90), 3)
    data = KFoldDataModule(split(), folds, fold=1, batch_size=25, reshuffle=True, seed=(0, 1))
    trainer = L.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip
    trainer.fit(task, data)
    return trainer, data


def test_weight_decay_is_the_penalty_of_kernels():
    """One step of Adam with coupled decay equals one step on loss + decay/2 ||kernels||^2, biases not included."""
    torch.manual_seed(0)
    task = Classifier(Linear(), recipe=Recipe(learning_rate=1e-2, weight_decay=0.5), seed=(0,), num_classes=100)
    twin = Linear()
    twin.load_state_dict(task.net.state_dict())
    x, y = torch.rand(8, 3, 32, 32), torch.arange(8)
    F.cross_entropy(task.net(x), y).backward()
    task.configure_optimizers().step()
    (F.cross_entropy(twin(x), y) + 0.25 * twin.dense.weight.square().sum()).backward()
    torch.optim.Adam(twin.parameters(), lr=1e-2).step()
    torch.testing.assert_close(task.net.dense.weight, twin.dense.weight)
    torch.testing.assert_close(task.net.dense.bias, twin.dense.bias)


def test_epoch_metrics_equal_scikit_learn():
    """With a learning rate of 0 the weights never move, so an epoch's metrics are those of the net as it is."""
    torch.manual_seed(0)
    task = Classifier(Linear(), recipe=Recipe(learning_rate=0.0), seed=(0,), num_classes=100)
    trainer, data = fitted(task, epochs=1)
    for stage, index in (("val", data.held_out), ("train", data.training)):
        logits = task.net(torch.from_numpy(data.split.images[index]).float() / 255).detach()
        labels = data.split.fine[index]
        accuracy = accuracy_score(labels, logits.argmax(1))
        cross_entropy = log_loss(labels, logits.double().softmax(1), labels=range(100))
        np.testing.assert_allclose(float(trainer.callback_metrics[f"{stage}/accuracy"]), accuracy, rtol=1e-5)
        np.testing.assert_allclose(float(trainer.callback_metrics[f"{stage}/cross_entropy"]), cross_entropy, rtol=1e-5)


def test_every_epoch_and_every_device_draws_numbers_of_its_own(monkeypatch):
    """Those of dropout and augmentation; a run that goes on draws those of its epoch again."""
    drawn = {}
    for seed, epoch, rank in product((0, 1), (0, 1, 2), (0, 1)):
        task = Classifier(Linear(), recipe=Recipe(learning_rate=0.0), seed=(seed,), num_classes=100)
        monkeypatch.setattr(task, "_trainer", SimpleNamespace(global_rank=rank, current_epoch=epoch))
        task.on_train_epoch_start()
        drawn[seed, epoch, rank] = float(torch.rand(1))
    assert len(set(drawn.values())) == len(drawn)
    task.on_train_epoch_start()
    assert float(torch.rand(1)) == drawn[1, 2, 1]


def test_every_epoch_sees_every_training_image_once_in_another_order():
    seen = []

    class Watching(Classifier):
        def training_step(self, batch):
            seen.append(batch[0].float().mean((1, 2, 3)))
            return super().training_step(batch)

    _, data = fitted(Watching(Linear(), recipe=Recipe(learning_rate=0.0), seed=(0,), num_classes=100))
    assert [len(batch) for batch in seen] == [25, 25, 10] * 2
    first, second = torch.cat(seen[:3]), torch.cat(seen[3:])
    expected = torch.from_numpy(data.split.images[data.training]).float().mean((1, 2, 3))
    assert torch.equal(first.sort()[0], expected.sort()[0])
    assert torch.equal(second.sort()[0], expected.sort()[0])
    assert not torch.equal(first, second)


def test_derived_seeds_differ():
    seeds = {derived_seed(seed, fold, epoch) for seed in range(5) for fold in range(5) for epoch in range(50)}
    assert len(seeds) == 1250
    assert derived_seed(42, 3) != derived_seed(42, 3, 0)


def test_accuracy_is_a_share_of_images_to_the_last_bit():
    logits, labels = torch.eye(3), torch.tensor([0, 0, 0])
    assert evaluate(logits, labels)["accuracy"] == 1 / 3


def test_the_gradient_is_clipped_to_a_norm():
    """One step of plain gradient descent at rate 1 moves the weights by the clipped norm."""
    recipe = Recipe(learning_rate=1.0, optimizer=torch.optim.SGD, gradient_clip_val=1e-3)
    task = Classifier(Linear(), recipe=recipe, seed=(0,), num_classes=100)
    before = nn.utils.parameters_to_vector(task.parameters()).detach().clone()
    trainer, _ = fitted(task, epochs=1, limit_train_batches=1)
    assert trainer.global_step == 1
    moved = nn.utils.parameters_to_vector(task.parameters()).detach() - before
    assert float(moved.norm()) == pytest.approx(1e-3, rel=1e-3)


def test_smoothed_labels_train_and_plain_ones_are_told():
    recipe = Recipe(learning_rate=0.0, label_smoothing=0.3, augment=lambda images: 255 - images)
    task = Classifier(Linear(), recipe=recipe, seed=(0,), num_classes=100)
    images, labels = torch.from_numpy(split().images), torch.arange(90)
    loss = task.training_step((images, labels))
    logits = task.net((255 - images).float() / 255)
    target = torch.full((90, 100), 0.003) + 0.7 * F.one_hot(labels, 100)
    assert loss.item() == pytest.approx(-(target * logits.log_softmax(1)).sum(1).mean().item(), rel=1e-5)
    told = task.metrics["train/cross_entropy"].compute()
    assert float(told) == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
