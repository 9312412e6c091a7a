"""What a network needs, against the paper's parameter counts, hand-counted operations and tensors that are there."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from cifar100x.nets.conv import ConvNet
from cifar100x.nets.transfer import TransferNet
from cifar100x.training.needs import LiveBytes, needs_of

HYP1 = {
    "filters": (32, 64, 128, 128),
    "dense": (1024, 512, 256),
    "dropout": 0.0,
    "batch_norm": "fixed",
    "num_classes": 100,
}
IMAGE = (3, 32, 32)


def test_operations_of_a_dense_layer():
    """A multiplication and an addition for each weight, once forward and once for its gradient."""
    needs = needs_of(lambda: nn.Linear(30, 20), (30,), 50, "float32")
    assert needs.flops_per_image == 2 * 2 * 30 * 20
    assert needs.parameters == 30 * 20 + 20
    assert needs.weights == 4 * 620
    assert needs.checkpoint == 3 * 4 * 620, "weights and Adam's two moments"


def test_memory_is_that_of_the_tensors():
    """A layer so wide that all else is small: weights, gradients and two moments of 4 bytes."""
    width = 3000
    needs = needs_of(lambda: nn.Linear(width, width), (width,), 1, "float32")
    assert needs.memory == pytest.approx(4 * 4 * width**2, rel=0.25)
    assert needs.memory >= 4 * 4 * width**2


def test_the_paper_s_network():
    needs = needs_of(lambda: ConvNet(convs_per_block=1, **HYP1), IMAGE, 50, "float32")
    assert needs.parameters == 9_346_788, "spec: parameters of Arch1-hyp1"
    convolutions = 32 * 32 * 25 * 3 * 32 + 16 * 16 * 25 * 32 * 64 + 64 * 9 * (64 * 128 + 128 * 128)
    dense = 8 * 8 * 128 * 1024 + 1024 * 512 + 512 * 256 + 256 * 100
    first = 32 * 32 * 25 * 3 * 32  # no gradient of the images
    assert needs.flops_per_image == 2 * (3 * (convolutions + dense) - first)


def test_a_frozen_encoder_has_no_gradients():
    def net(frozen):
        return TransferNet(batch_norm="batch", frozen=frozen, dense=(1024, 512), dropout=0.0, num_classes=100)

    frozen, retrained = (needs_of(lambda f=f: net(f), IMAGE, 50, "float32") for f in (True, False))
    encoder = 9_260_928  # spec
    assert frozen.parameters == retrained.parameters
    assert retrained.checkpoint - frozen.checkpoint == 2 * 4 * encoder
    assert retrained.memory - frozen.memory >= 3 * 4 * encoder, "its gradients and moments"


def test_half_precision_halves_activations_not_weights():
    net = {"float32": None, "bf16": None}
    for precision in net:
        net[precision] = needs_of(lambda: ConvNet(convs_per_block=2, **HYP1), IMAGE, 2000, precision)
    assert 0.4 < net["bf16"].memory / net["float32"].memory < 0.75
    assert net["bf16"].checkpoint == net["float32"].checkpoint


def test_live_bytes_follow_tensors_that_come_and_go():
    with LiveBytes() as live:
        a = torch.zeros(1000)
        b = a + 1
        del b
        c = a.view(10, 100)  # shares its storage
    assert (live.live, live.peak) == (4000, 8000)
    del a, c
    assert live.live == 0


STEPS = """
import psutil, torch
from cifar100x.data.batches import EVAL_BATCH_SIZE
from cifar100x.nets.conv import ConvNet
from tests.training.test_needs import IMAGE, LARGE
before = psutil.Process().memory_info().rss
net = ConvNet(convs_per_block=1, **LARGE)
optimizer = torch.optim.Adam(net.parameters(), fused=True)
peak = 0
for _ in range(2):
    optimizer.zero_grad()
    net(torch.rand(50, *IMAGE)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        net(torch.rand(EVAL_BATCH_SIZE, *IMAGE))
    peak = max(peak, psutil.Process().memory_info().rss)
print(peak - before)
"""
LARGE = HYP1 | {"dense": (1800, 512, 256)}


def test_against_the_memory_of_a_real_step():
    """The growth of a fresh process while it trains a network of 60 MB of weights, within 20%."""
    needs = needs_of(lambda: ConvNet(convs_per_block=1, **LARGE), IMAGE, 50, "float32")
    shell = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    assert int(shell.stdout) == pytest.approx(needs.memory, rel=0.2)
