"""Networks from the checkpoints of their runs."""

import pytest
import torch

from cifar100x.errors import UserError
from cifar100x.nets.autoencoder import Encoder
from cifar100x.runs.networks import load_strictly


def test_loading_is_strict():
    torch.manual_seed(0)
    net = Encoder(batch_norm="batch", width_multiplier=0.125)
    weights = {k: torch.full_like(v, 2) for k, v in net.state_dict().items()}
    before = {k: v.clone() for k, v in net.state_dict().items()}
    missing = {k: v for k, v in weights.items() if k != "code.bias"}
    for bad, message in (
        (missing, r"here: code.bias is absent there, expected \(64,\)"),
        (weights | {"more": torch.zeros(3)}, r"more is \(3,\) there, expected absent"),
        (weights | {"code.bias": torch.zeros(3)}, r"code.bias is \(3,\) there, expected \(64,\)"),
    ):
        with pytest.raises(UserError, match=message):
            load_strictly(net, bad, "here")
        assert all(torch.equal(before[k], v) for k, v in net.state_dict().items()), "nothing is half loaded"
    load_strictly(net, weights, "here")
    assert all((v == 2).all() for v in net.state_dict().values())
