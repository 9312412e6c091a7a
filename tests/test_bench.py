"""The tools of bench/ run, on next to nothing: what they say of so little is no measurement, and nothing is timed."""

import re
import sys
from functools import partial

import pytest

from bench import images, makespan, racing, steps, training, transfer, verdicts
from cifar100x.data.synthetic import draw
from cifar100x.nets.transfer import TransferNet

pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")


@pytest.fixture
def said(monkeypatch, capsys):
    """What a tool prints."""

    def run(tool, *arguments):
        monkeypatch.setattr(sys, "argv", [tool.__name__, *map(str, arguments)])
        tool.main()
        return capsys.readouterr().out

    return run


@pytest.fixture
def hurried(monkeypatch):
    """One round of a few steps on 200 drawings."""
    monkeypatch.setattr(training, "SECONDS", 0.0)
    for tool in (training, transfer):
        monkeypatch.setattr(tool, "draw", lambda per_class, seed: draw(2, seed))
        monkeypatch.setattr(tool, "ROUNDS", 1)


def test_transfer(said, hurried, monkeypatch):
    monkeypatch.setattr(transfer, "TransferNet", partial(TransferNet, width_multiplier=1 / 16))
    found = said(transfer)
    assert re.search(r"ratio of 50 epochs +[0-9.]+ ", found)
    difference, largest = map(float, re.findall(r"difference of logits (\S+), of (\S+)", found)[0])
    assert difference < 0.05 * largest, "both ways give the same"


@pytest.mark.parametrize("way", training.WAYS)
def test_training(way, said, hurried):
    assert float(said(training, "--way", way, "width.multiplier=0.03125")) > 0


@pytest.mark.parametrize("way", [way for way in steps.WAYS if way != "compiled"])  # which needs a compiler
def test_steps(way, said, monkeypatch):
    for name, little in {"WARM_UP_SECONDS": 0.0, "SECONDS": 0.1, "NUM_IMAGES": 40, "AT_ONCE": 2}.items():
        monkeypatch.setattr(steps, name, little)
    assert float(said(steps, "--way", way, "width.multiplier=0.03125", "data.batch_size=8")) > 0


def test_images(said, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "ROUNDS", 1)
    found = said(images, tmp_path, 1000)
    assert found.startswith("1,000 images, ")
    assert list(tmp_path.iterdir()) == []


def test_makespan(said, compared_study):
    assert re.search(r"arch1-hyp1 [0-9.]+, arch2-hyp1 [0-9.]+\n", said(makespan, compared_study / "runs/default", 2))


def test_racing(said, compared_study):
    lines = said(racing, 20, compared_study / "runs/default").splitlines()
    assert len(lines) > len(racing.RACES)
    assert all(re.search(r"[0-9.]+ +[0-9.]+ +[0-9.]+$", line) for line in lines[1:])


def test_verdicts(said):
    lines = said(verdicts, 20).splitlines()
    assert [line.split()[0] for line in lines[2:]] == [way.split()[0] for way in verdicts.WAYS]
