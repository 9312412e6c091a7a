"""The transfer classifier: counts, the odd activation on the logits, and what frozen means."""

from itertools import pairwise

import pytest
import torch

from cifar100x.errors import UserError
from cifar100x.nets.transfer import TransferNet
from cifar100x.training.recipe import kernels_and_others

DENSE = [1024, 512, 512, 256, 256]


def net(frozen=False, dropout=0.0, multiplier=0.125):
    torch.manual_seed(0)
    options = {"dense": DENSE, "dropout": dropout, "width_multiplier": multiplier, "num_classes": 100}
    return TransferNet(batch_norm="batch", frozen=frozen, **options)


def test_parameter_counts():
    whole = net(multiplier=1.0)
    units = [512, *DENSE, 100]
    head = sum(i * o + o for i, o in pairwise(units))
    assert sum(p.numel() for p in whole.head.parameters()) == head
    assert sum(p.numel() for p in whole.parameters()) == 9_260_928 + head


def test_the_logits_pass_a_leaky_relu():
    whole = net().eval()
    images = torch.rand(8, 3, 32, 32)
    plain = whole.head.logits(whole.head.hidden(whole.encoder(images)))
    assert (plain < 0).any()
    torch.testing.assert_close(whole(images), torch.where(plain > 0, plain, 0.2 * plain))


def test_dropout_is_between_all_dense_layers():
    assert [module.p for module in net(dropout=0.8).modules() if isinstance(module, torch.nn.Dropout)] == [0.8] * 5
    with pytest.raises(UserError, match=r"dropout is 1\.5"):
        net(dropout=1.5)


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_reaches_gradients_statistics_and_optimiser(frozen):
    whole = net(frozen)
    assert whole.encoder.training != frozen, "as it comes out of the constructor, since Lightning does not call train()"
    whole.train()
    statistics = whole.encoder.features[0].norm.running_mean.clone()
    whole(torch.rand(4, 3, 32, 32)).sum().backward()
    assert all((p.grad is None) == frozen for p in whole.encoder.parameters())
    assert all(p.grad is not None for p in whole.head.parameters())
    assert torch.equal(statistics, whole.encoder.features[0].norm.running_mean) == frozen
    trained = {id(p) for group in kernels_and_others(whole) for p in group}
    assert all((id(p) in trained) != frozen for p in whole.encoder.parameters())
