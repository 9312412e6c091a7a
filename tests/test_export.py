"""What is handed on computes what the run computed, with nothing of this package."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from cifar100x import export
from cifar100x.app.parts import make_net
from cifar100x.data.classes import CLASSES
from cifar100x.data.synthetic import draw
from cifar100x.runs import exporting
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.networks import load_network
from tests.conftest import TINY, TINY_PRETRAINING

RUN = Path("runs/default/arch2-hyp1/fold0")


@pytest.mark.parametrize("candidate", ["arch2-hyp1", "t-arch1"])
def test_onnx_and_safetensors(candidate, command, train_command):
    if candidate == "t-arch1":
        assert train_command(*TINY_PRETRAINING)[0] == 0
    assert train_command(*TINY, f"candidate={candidate}", "reading=keep80", "learning_rate=1e-2")[0] == 0
    run = Path(f"runs/default/{candidate}-keep80/fold0")
    status, out, err = command(export.main, str(run), "out")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].startswith("wrote out: model.safetensors, model.onnx")

    images = draw(2, 0).images[:7]
    net = load_network(RunDirectory(run), make_net)
    with torch.no_grad():
        expected = net(torch.from_numpy(images)).numpy()
    (logits,) = onnxruntime.InferenceSession("out/model.onnx").run(None, {"images": images})
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)
    weights = load_file("out/model.safetensors")
    assert weights.keys() == net.net.state_dict().keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in net.net.state_dict().items())
    card = json.loads(Path("out/card.json").read_text())
    assert card["classes"] == list(CLASSES)
    assert card["metrics"] == RunDirectory(run).metrics
    assert {path.name for path in Path("out").iterdir()} == {"model.safetensors", "model.onnx", "card.json"}


def test_an_export_that_fails_or_is_interrupted_leaves_nothing(command, train_command, monkeypatch):
    assert train_command(*TINY, "model=arch2")[0] == 0
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    status, _, err = command(export.main, str(RUN), "out")
    assert status == 1
    assert "error: the ONNX file computes other logits than the network" in err
    assert sorted(path.name for path in Path().iterdir()) == ["runs"], "nothing half-written is left"

    def interrupted(*_, **__):
        try:
            raise KeyboardInterrupt
        finally:  # as torch does while it imports what it compiles with
            raise AttributeError("module 'torch._dynamo' has no attribute 'exc'")

    monkeypatch.setattr(torch.onnx, "export", interrupted)
    assert command(export.main, str(RUN), "out") == (130, "", "error: interrupted\n")
    assert sorted(path.name for path in Path().iterdir()) == ["runs"]


def test_bad_input(command, train_command):
    assert train_command(*TINY, "-m", "model=arch2", "fold=0,1")[0] == 0
    Path("there").mkdir()
    for arguments, message in (
        ((RUN, "there"), "there exists: name a new folder"),
        ((RUN.parent, "out"), "holds 2 runs: name one of them, as in"),
        (("nowhere", "out"), "nowhere is neither a run"),
    ):
        status, out, err = command(export.main, *map(str, arguments))
        assert (status, out) == (1, "")
        assert message in err
