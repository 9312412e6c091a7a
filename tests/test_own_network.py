"""A network of the user's own: in the same study as ours, and what can be wrong with one, in one line each."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar100x import compare, export, final, predict, status
from cifar100x.data.synthetic import draw
from cifar100x.runs.directory import RunDirectory
from tests.conftest import unseal

TINY = ("data=synthetic", "data.train_per_class=2", "data.test_per_class=1", "folds.num=2", "trainer=cpu",
        "trainer.max_epochs=1")  # fmt: skip
OWN = ("--config-dir", "conf", "model=mine")

NETWORKS = '''
import socket

import torch
from torch import nn


class SmallNet(nn.Module):
    """Ten lines."""

    def __init__(self, num_classes: int, width: int = 8):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * width, num_classes)

    def forward(self, x):
        return self.head(self.body(x))


class Awkward(SmallNet):
    """What cannot be followed without numbers: a plain attribute, a buffer that is not saved, numbers asked for."""

    def __init__(self, num_classes: int):
        super().__init__(num_classes)
        self.scale = torch.ones(1)
        self.register_buffer("shift", torch.zeros(1), persistent=False)
        self.sizes = torch.linspace(1, 2, 3).tolist()

    def forward(self, x):
        return super().forward(x * self.scale + self.shift)


class Normed(SmallNet):
    def __init__(self, num_classes: int):
        super().__init__(num_classes)
        self.body.append(nn.BatchNorm1d(32))


class Tenfold(SmallNet):
    def __init__(self, num_classes: int):
        super().__init__(10)


class Large(nn.Module):
    def __init__(self, num_classes: int):
        super().__init__()
        self.dense = nn.Linear(3 * 224 * 224, num_classes)

    def forward(self, x):
        return self.dense(x.flatten(1))


class Fetching(SmallNet):
    def __init__(self, num_classes: int):
        super().__init__(num_classes)
        socket.create_connection(("weights.example.org", 443))


class Lazy(SmallNet):
    def __init__(self, num_classes: int):
        super().__init__(num_classes)
        self.head = nn.LazyLinear(num_classes)


class Several(SmallNet):
    def forward(self, x):
        return super().forward(x), x


answer = 42
'''
MODEL = """
name: mine
net:
  _target_: mynets.SmallNet
  num_classes: ${data.num_classes}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of the user's, in which they work."""
    (tmp_path / "mynets.py").write_text(NETWORKS)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "mine.yaml").write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mynets", None)


def test_from_four_lines_to_a_verdict_a_prediction_and_files(train_command, command, tmp_path):
    sweep = (*TINY, "--config-dir", "conf", "-m", "model=mine,resnet20", "fold=0,1", "study=s")
    shrunk = ("data.limit=100",)
    code, out, err = train_command(*sweep, *shrunk)
    assert (code, err) == (0, "")
    assert "mine fold 0: accuracy" in out
    assert "s: 4 done" in command(status.main, "study=s")[1]
    assert command(compare.main, "study=s")[0] == 0
    Image.fromarray(draw(2, 0).images[0].transpose(1, 2, 0)).save(tmp_path / "x.png")
    code, out, err = command(predict.main, "runs/s/mine", "x.png", "--json", "--top", "100", "--trust", "mynets")
    assert (code, err) == (0, "")
    (found,) = json.loads(out).values()
    assert sum(answer["probability"] for answer in found) == pytest.approx(1)
    assert command(export.main, "runs/s/mine/fold0", "out", "--trust", "mynets")[0] == 0
    assert json.loads(Path("out/card.json").read_text())["output"] == "logits float32 (N, 100)"
    verdict = Path("runs/s/report/verdict.json")
    verdict.write_text(json.dumps(json.loads(verdict.read_text()) | {"chosen": "mine"}))
    code, out, err = command(final.main, "study=s", "trust=[mynets]")
    assert (code, err) == (0, "")


def test_a_run_that_is_handed_over_makes_nothing_that_is_not_trusted(train_command, command):
    assert train_command(*TINY, *OWN)[0] == 0
    drawing = Image.fromarray(draw(1, 0).images[0].transpose(1, 2, 0))
    drawing.save("x.png")
    run = RunDirectory(Path("runs/default/mine/fold0"))
    for arguments in (("x.png",), ("x.png", "--trust", "othernets")):
        code, _, err = command(predict.main, str(run.path), *arguments)
        assert code == 1
        assert "this run names mynets.SmallNet, which would be called" in err
    unseal(run)
    hostile = (run.path / "config.yaml").read_text()
    for target in (
        "os.system",
        "mynets.socket.create_connection",
        "torchvision.models.resnet.Path",
        "timm.create_model",
    ):
        changed = hostile.replace("mynets.SmallNet", target + "\n    checkpoint_path: x" * (target[0:4] == "timm"))
        (run.path / "config.yaml").write_text(changed)
        code, _, err = command(
            predict.main, str(run.path), "x.png", *(("--trust", "mynets") if "mynets" in target else ())
        )
        assert code == 1
        assert f"this run names {target}" in err


def test_a_network_of_torchvision_needs_no_trust(train_command, command):
    own = ("model.name=squeeze", "model.net._target_=torchvision.models.squeezenet1_1", "+model.net.num_classes=100")
    bare = ("~model.net.filters", "~model.net.dense", "~model.net.convs_per_block", "~model.net.batch_norm",
            "~model.net.width_multiplier")  # fmt: skip
    arguments = [argument for argument in own if not argument.startswith("+")]
    assert train_command(*TINY, *arguments, *bare, "data.limit=20")[0] == 0
    Image.fromarray(draw(1, 0).images[0].transpose(1, 2, 0)).save("x.png")
    assert command(predict.main, "runs/default/squeeze/fold0", "x.png")[0] == 0


def test_what_cannot_be_counted_is_not_trained(train_command):
    with pytest.raises(RuntimeError):  # a traceback, as of every mistake in a network
        train_command(*TINY, *OWN, "model.net._target_=mynets.Lazy")
    assert not list(Path("runs").rglob("last.ckpt"))


def test_a_last_batch_of_one_image(train_command):
    """Of 100 training images; batch-norm has no deviation of one number."""
    code, _, err = train_command(*TINY, *OWN, "model.net._target_=mynets.Normed", "data.batch_size=33")
    assert code == 1
    assert err.startswith(
        "error: a batch has one image, and this network's batch-norm needs two: choose a data.batch_size"
    )


def test_what_cannot_be_followed_without_numbers_is_built(train_command):
    code, out, err = train_command(*TINY, *OWN, "model.net._target_=mynets.Awkward", "-m", "fold=0,1")
    assert (code, err) == (0, "")
    assert "mine fold 1: accuracy" in out


TARGET = "model.net._target_=mynets"
MISTAKES = {
    "a wrong argument": (
        "+model.net.widht=3",
        "model.net.widht: SmallNet takes no such argument; did you mean 'width'?",
    ),
    "a value of another type": ("+model.net.width=wide", "model.net.width is 'wide', expected an integer"),
    "another number of classes": (
        f"{TARGET}.Tenfold",
        "Tenfold does not fit: it makes (N, 10) of N images, expected logits (N, 100), one for each class of the "
        "images",
    ),
    "another size of images": (
        f"{TARGET}.Large",
        "Large does not fit: it cannot take images (N, 3, 32, 32): mat1 and mat2",
    ),
    "no tensor": (f"{TARGET}.Several", "Several does not fit: it makes a tuple of images"),
    "no such module": (
        f"{TARGET}x.SmallNet",
        "model.net._target_: mynetsx.SmallNet cannot be imported (No module named 'mynetsx')",
    ),
    "no such class": (f"{TARGET}.Small", "model.net._target_: mynets.Small cannot be imported"),
    "nothing to call": (
        f"{TARGET}.answer",
        "model.net._target_: mynets.answer is a int, expected a class or function",
    ),
    "weights from elsewhere": (
        f"{TARGET}.Fetching",
        "model.net: its constructor wants to fetch something from weights.example.org",
    ),
}


@pytest.mark.parametrize("sweeping", [False, True])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake, sweeping, train_command):
    argument, message = MISTAKES[mistake]
    code, out, err = train_command(*TINY, *OWN, argument, *(("-m", "fold=0,1") if sweeping else ()))
    assert code in (1, 2)
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(Path("runs").rglob("checkpoints")), "nothing was trained"
    if sweeping:
        assert not Path("runs").exists()


def test_other_mistakes_in_the_file(train_command):
    path = Path("conf/model/mine.yaml")
    for text, message in (
        (MODEL.replace("net:", "nett:"), "model lacks net, the network (it has name, nett)"),
        (MODEL.replace("name: mine\n", ""), "model lacks name, of its results (it has net)"),
    ):
        path.write_text(text)
        code, out, err = train_command(*TINY, *OWN)
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize("content", [b"net: [", b"net:\t{}", "# caf\xe9\nname: x".encode("latin1")])
def test_a_config_that_is_no_yaml(content, train_command):
    Path("conf/model").mkdir(parents=True, exist_ok=True)
    Path("conf/model/mine.yaml").write_bytes(content)
    status, out, err = train_command("--config-dir", "conf", *TINY, "model=mine")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "a config in conf cannot be read: " in err
    assert train_command("--config-dir", "conf", "--help")[0] == 0


def test_images_reach_it_as_numbers_from_0_to_1(train_command):
    """The recorded logits are those of the network on its images divided by 255."""
    import torch

    from cifar100x.app.parts import make_net

    assert train_command(*TINY, *OWN, "trainer.precision=float32")[0] == 0
    run = RunDirectory(Path("runs/default/mine/fold0"))
    state = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    net = make_net(run.config)
    net.load_state_dict({k.removeprefix("net."): v for k, v in state.items()})
    images = torch.from_numpy(draw(2, 0).images[run.predictions.index]) / 255
    np.testing.assert_allclose(net.eval()(images).detach(), run.predictions.logits, rtol=1e-4, atol=1e-5)
