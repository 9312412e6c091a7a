"""The architectures against the specification and against a second writing of it."""

import math

import pytest
import torch
from torch.nn import functional as F

from cifar100x.nets.conv import ConvNet, FixedBatchNorm2d
from cifar100x.training.recipe import kernels_and_others

WIDTHS = {
    "hyp1": ((32, 64, 128, 128), (1024, 512, 256)),
    "hyp2": ((64, 128, 256, 256), (2048, 1024, 512)),
    "hyp3": ((128, 256, 512, 512), (4096, 2048, 512)),
}


def net(convs_per_block=1, width="hyp1", dropout=0.0, batch_norm="fixed", multiplier=1 / 16):
    filters, dense = WIDTHS[width]
    return ConvNet(
        filters=filters,
        dense=dense,
        convs_per_block=convs_per_block,
        dropout=dropout,
        batch_norm=batch_norm,
        width_multiplier=multiplier,
        num_classes=100,
    )


@pytest.mark.parametrize(
    ("convs_per_block", "width", "parameters"),
    [
        (1, "hyp1", 9_346_788),
        (1, "hyp2", 37_326_180),
        (1, "hyp3", 148_082_788),
        (2, "hyp1", 9_770_052),
        (2, "hyp2", 39_018_532),
        (2, "hyp3", 154_850_788),
    ],
)
def test_parameter_counts_of_the_specification(convs_per_block, width, parameters):
    with torch.device("meta"):
        model = net(convs_per_block, width, multiplier=1.0)
    assert sum(p.numel() for p in model.parameters()) == parameters


def reference(model: ConvNet, x: torch.Tensor, convs_per_block: int) -> torch.Tensor:
    """Section III.A and III.B read line by line: activation before pooling, batch-norm by its formula."""
    parameters = iter(model.state_dict().items())

    def take(suffix):
        name, value = next(parameters)
        assert name.endswith(suffix)
        return value

    for block in range(4):
        for _ in range(convs_per_block):
            weight, bias = take("weight"), take("bias")
            x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        x = torch.where(x > 0, x, 0.2 * x)
        if block < 2:
            x = x.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).amax((-1, -3))
            scale, shift, mean, variance = (take(s) for s in ("weight", "bias", "running_mean", "running_var"))
            take("num_batches_tracked")
            column = (1, -1, 1, 1)
            x = (x - mean.view(column)) / (variance.view(column) + 1e-3).sqrt() * scale.view(column) + shift.view(
                column
            )
    x = x.flatten(1)
    for layer in range(4):
        x = x @ take("weight").T + take("bias")
        x = torch.where(x > 0, x, 0.2 * x) if layer < 3 else x
    return x


@pytest.mark.parametrize("convs_per_block", [1, 2])
def test_forward_matches_a_second_writing(convs_per_block):
    torch.manual_seed(0)
    model = net(convs_per_block).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    images = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(model(images), reference(model, images, convs_per_block), rtol=1e-4, atol=1e-4)


def test_kernels_are_glorot_uniform_and_biases_zero():
    torch.manual_seed(0)
    model = net(width="hyp2", multiplier=0.5)
    conv = model.features[1].convs[0]
    limit = math.sqrt(6 / (25 * (32 + 64)))  # Glorot and Bengio 2010, equation 16, with the receptive field
    assert conv.weight.abs().max() <= limit
    assert conv.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.02)
    _, others = kernels_and_others(model)
    assert {float(p.detach().abs().max()) for p in others} == {0.0, 1.0}, "biases and shifts 0, scales 1"


def test_fixed_batch_norm_never_learns_statistics():
    model = net(batch_norm="fixed")
    model(torch.rand(8, 3, 32, 32))  # as it comes from its constructor
    model.train()(torch.rand(8, 3, 32, 32))
    norms = [m for m in model.modules() if isinstance(m, FixedBatchNorm2d)]
    assert len(norms) == 2
    for norm in norms:
        assert norm.running_mean.eq(0).all()
        assert norm.running_var.eq(1).all()
        assert norm.weight.requires_grad
        assert norm.bias.requires_grad


def test_batch_norm_uses_the_tensorflow_defaults():
    model = net(batch_norm="batch").train()
    before = model.features[0].norm.running_var.clone()
    model(torch.rand(8, 3, 32, 32))
    norm = model.features[0].norm
    assert (norm.eps, norm.momentum) == (1e-3, 0.01)
    assert not torch.equal(norm.running_var, before)


def test_dropout_rate_in_training_and_none_in_evaluation():
    torch.manual_seed(0)
    model = net(width="hyp3", dropout=0.8, batch_norm="batch", multiplier=0.25).train()
    dropped = model.head[1](torch.rand(64, model.head[1][0].in_features))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.8, abs=0.02)
    blocks = model.features(torch.rand(8, 3, 32, 32))
    assert (blocks == 0).float().mean().item() == pytest.approx(0.8, abs=0.02)
    model.eval()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(model(images), model(images))


def test_logits_are_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert net()(torch.rand(2, 3, 32, 32)).dtype == torch.float32


@pytest.mark.parametrize("wrong", [{"dropout": 1.0}, {"dropout": -0.1}, {"batch_norm": "off"}])
def test_impossible_arguments(wrong):
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        net(**wrong)
