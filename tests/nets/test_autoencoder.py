"""The autoencoder against the counts and shapes of the paper, and against the same layers written out by hand."""

import pytest
import torch
from torch.nn import functional as F

from cifar100x.errors import UserError
from cifar100x.nets.autoencoder import Autoencoder, Encoder, MaxPoolStride1


def count(net):
    return sum(p.numel() for p in net.parameters())


def test_parameter_counts():
    net = Autoencoder(batch_norm="batch")
    assert count(net) == 10_282_243
    assert count(net.encoder) == 9_260_928


def test_shapes():
    net = Autoencoder(batch_norm="batch")
    images = torch.rand(2, 3, 32, 32)
    assert net.encoder.features(images).shape == (2, 256, 8, 8)
    reconstruction = net(images)
    assert reconstruction.images.shape == images.shape
    assert reconstruction.code.shape == (2, 512)
    shapes = [tuple(layer(torch.rand(2, c, s, s)).shape[1:]) for layer, c, s in zip(
        net.decoder[1:], (8, 256, 256, 64), (8, 8, 16, 32), strict=True)]  # fmt: skip
    assert shapes == [(256, 8, 8), (256, 16, 16), (64, 32, 32), (3, 32, 32)]


def test_the_encoder_written_out_by_hand():
    """Convolution, pool, ReLU, batch-norm with the statistics of the batch, in the words of the specification."""
    torch.manual_seed(0)
    net = Encoder(batch_norm="batch", width_multiplier=0.125)
    w = net.state_dict()
    x = torch.rand(4, 3, 32, 32)

    def layer(x, name, stride=1, pool=lambda x: x):
        kernel = w[f"{name}.conv.weight"]
        x = pool(F.conv2d(x, kernel, w[f"{name}.conv.bias"], stride, padding=kernel.shape[-1] // 2))
        x = x.clamp(min=0)
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
        return (x - mean) / (var + 1e-3).sqrt()

    def pool_keeping_the_size(x):
        x = F.pad(x, (0, 1, 0, 1), value=float("-inf"))
        return torch.stack([x[:, :, :-1, :-1], x[:, :, 1:, :-1], x[:, :, :-1, 1:], x[:, :, 1:, 1:]]).amax(0)

    def pool_by_two(x):
        return x.reshape(4, -1, 16, 2, 16, 2).amax((3, 5))

    first = layer(x, "features.0")
    branches = [
        layer(first, "features.1.first", 2, pool_keeping_the_size),
        layer(first, "features.1.second", 1, pool_by_two),
    ]
    features = layer(torch.cat(branches, 1), "features.2", 2)
    code = features.flatten(1) @ w["code.weight"].T + w["code.bias"]
    torch.testing.assert_close(net(x), torch.where(code > 0, code, 0.2 * code), rtol=1e-4, atol=1e-4)


def test_pool_with_stride_1():
    x = torch.tensor([[[[1.0, 5.0], [3.0, 2.0]]]])
    assert MaxPoolStride1()(x).tolist() == [[[[5.0, 5.0], [3.0, 2.0]]]]
    x = torch.randn(2, 3, 5, 4, requires_grad=True)
    repeated = F.max_pool2d(F.pad(x, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
    pooled, weights = MaxPoolStride1()(x), torch.randn(2, 3, 5, 4)
    assert torch.equal(pooled, repeated), "as if the last row and column were there twice"
    (found,), (expected,) = (torch.autograd.grad((y * weights).sum(), x) for y in (pooled, repeated))
    torch.testing.assert_close(found, expected)


def test_unknown_batch_norm():
    with pytest.raises(UserError, match="batch_norm is 'layer', expected 'batch' or 'fixed'"):
        Autoencoder(batch_norm="layer")
