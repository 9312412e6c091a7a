"""The residual networks against the numbers of their paper."""

import pytest
import torch

from cifar100x.errors import UserError
from cifar100x.nets.resnet import ResNet


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_parameters_are_those_of_table_6(depth, millions):
    with torch.device("meta"):
        net = ResNet(depth=depth, num_classes=10)
    parameters = sum(p.numel() for p in net.parameters()) / 1e6
    assert parameters == pytest.approx(millions, rel=0.03)
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) + 1 == depth, "shortcuts have no weights"


def test_stages_halve_the_map_and_double_the_channels():
    net = ResNet(depth=8, width=4, num_classes=7)
    x = net.stem(torch.rand(2, 3, 32, 32))
    shapes = [tuple((x := block(x)).shape[1:]) for block in net.stages]
    assert shapes == [(4, 32, 32), (8, 16, 16), (16, 8, 8)]
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 7)


def test_a_block_of_zeros_is_its_shortcut():
    """Every second place, new channels zero on both sides."""
    block = ResNet(depth=8, width=4, num_classes=7).stages[1].eval()
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.rand(1, 4, 32, 32)
    out = block(x)
    torch.testing.assert_close(out[:, 2:6], x[:, :, ::2, ::2])
    assert not out[:, :2].any()
    assert not out[:, 6:].any()


@pytest.mark.parametrize("options", [{"depth": 21}, {"depth": 2}, {"width": 0}])
def test_impossible_sizes(options):
    with pytest.raises(UserError, match="expected"):
        ResNet(num_classes=10, **options)
