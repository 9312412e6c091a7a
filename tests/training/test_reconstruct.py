"""The autoencoder's loss and metrics against plain numpy."""

import lightning as L
import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.utils.data import DataLoader

from cifar100x.errors import UserError
from cifar100x.nets.autoencoder import Autoencoder
from cifar100x.nets.vae import VariationalAutoencoder
from cifar100x.training.recipe import Recipe
from cifar100x.training.reconstruct import CodeStatistics, Reconstructor, divergence, is_collapsed, sparsity

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (7, 3, 32, 32), dtype=np.uint8))
MEAN_IMAGE = torch.full((3, 32, 32), 0.5)


def task(reduction="sum", **changes):
    torch.manual_seed(0)
    net = Autoencoder(batch_norm="fixed", width_multiplier=0.125)
    penalty = sparsity(**{"weight": 5e-3, "reduction": reduction} | changes)
    return Reconstructor(net, MEAN_IMAGE, recipe=Recipe(learning_rate=1e-3), penalty=penalty, seed=(1,))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_loss(reduction):
    tested = task(reduction)
    target = IMAGES.numpy() / 255.0
    made = tested.net(torch.from_numpy(target).float())
    images, code = (part.detach().numpy().astype(float) for part in (made.images, made.code))
    norm = np.abs(code).sum(axis=1) if reduction == "sum" else np.abs(code).mean(axis=1)
    expected = ((images - target) ** 2).mean() + 5e-3 * norm.mean()
    assert tested.training_step(IMAGES).item() == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_a_variational_autoencoder():
    """Its divergence is that of torch's normal distributions; in evaluation the decoder sees the mean itself."""
    torch.manual_seed(0)
    net = VariationalAutoencoder(batch_norm="fixed", width_multiplier=0.125)
    torch.nn.init.normal_(net.log_variance.weight, std=0.1)
    tested = Reconstructor(net, MEAN_IMAGE, recipe=Recipe(learning_rate=1e-3), penalty=divergence(1e-2), seed=(1,))
    target = IMAGES.float() / 255
    torch.manual_seed(1)
    loss = tested.training_step(IMAGES)
    torch.manual_seed(1)
    made = net(target)
    of_code = Normal(made.code, (made.log_variance / 2).exp())
    expected = (made.images - target).square().mean() + 1e-2 * kl_divergence(of_code, Normal(0, 1)).sum(1).mean()
    torch.testing.assert_close(loss, expected)
    assert not torch.equal(net(target).images, made.images), "it draws"
    net.eval()
    torch.testing.assert_close(net(target).images, net.decoder(net.encoder(target)))
    torch.testing.assert_close(net(target).code, made.code)


def test_metrics_over_uneven_batches():
    tested = task()
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.validate(tested, DataLoader(IMAGES.split((5, 2)), batch_size=None), verbose=False)
    logged = trainer.callback_metrics
    target = IMAGES.numpy() / 255.0
    with torch.no_grad():
        made = tested.net(torch.from_numpy(target).float())
    images, code = (part.numpy().astype(float) for part in (made.images, made.code))
    error = ((images - target) ** 2).mean()
    deviations = code.std(axis=0)
    expected = {
        "val/reconstruction": error,
        "val/sparsity": 5e-3 * np.abs(code).sum(axis=1).mean(),
        "val/error_ratio": error / ((target - 0.5) ** 2).mean(),
        "val/mean_absolute_code": np.abs(code).mean(),
        "val/active_units": (deviations > 0.01 * deviations.max()).mean(),
    }
    for name, value in expected.items():
        assert float(logged[name]) == pytest.approx(value, rel=1e-5), name


def test_code_statistics():
    code = np.random.default_rng(0).normal(3, 0.1, (500, 64))
    code[:, 5] = 7
    statistics = CodeStatistics(64)
    for part in np.array_split(code, 3):
        statistics.update(torch.from_numpy(part))
    mean_absolute, deviations = statistics.compute()
    assert mean_absolute.item() == pytest.approx(np.abs(code).mean())
    np.testing.assert_allclose(deviations, code.std(axis=0), atol=1e-6)


def test_a_collapsed_code_is_recognised():
    assert is_collapsed(error_ratio=1.0, active_units=1.0), "no better than the mean image"
    assert is_collapsed(error_ratio=0.5, active_units=0.0), "no unit varies"
    assert not is_collapsed(error_ratio=0.4, active_units=0.9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reduction": "max"}, "sparsity.reduction is 'max', expected 'sum' or 'mean'"),
        ({"weight": -1.0}, r"sparsity.weight is -1.0, expected at least 0"),
    ],
)
def test_bad_numbers(changes, message):
    with pytest.raises(UserError, match=message):
        task(**changes)
