"""NVIDIA's Multi-Process Service, started and ended around a sweep; the service itself is pretended here."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from cifar100x.errors import UserError
from cifar100x.sweep import mps
from cifar100x.sweep.mps import CONTROL, side_by_side

PRETENDED = """#!/bin/sh
word=$1
[ -n "$word" ] || read word
echo "$word in $CUDA_MPS_PIPE_DIRECTORY${CUDA_VISIBLE_DEVICES:+ masked}" >> {told}
{then}
"""


def pretended_mps(folder: Path, monkeypatch, then: str = "") -> Path:
    """Put a control program on the PATH; return the file that it writes down in what it is told."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # which are the numbers that jobs are given
    told, place = folder / "told", folder / "bin"
    place.mkdir()
    (place / CONTROL).write_text(PRETENDED.replace("{told}", str(told)).replace("{then}", then))
    (place / CONTROL).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    return told


@pytest.mark.parametrize("before", [None, "/run/theirs"])
def test_it_lasts_as_long_as_the_sweep(before, tmp_path, monkeypatch):
    """Whatever happens in it; the environment is as before, also where it named another."""
    told = pretended_mps(tmp_path, monkeypatch)
    if before is None:
        monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    else:
        monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", before)
    with suppress(KeyError), side_by_side():
        place = os.environ["CUDA_MPS_PIPE_DIRECTORY"]
        assert Path(place).is_dir()
        assert os.environ["CUDA_MPS_LOG_DIRECTORY"] == place
        assert told.read_text() == f"-d in {place}\n"
        raise KeyError
    assert told.read_text() == f"-d in {place}\nquit in {place} masked\n"
    assert os.environ.get("CUDA_MPS_PIPE_DIRECTORY") == before
    assert not Path(place).exists()


def test_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=f"{CONTROL}, .*, is not on the PATH here"), side_by_side():
        pass


def test_it_does_not_start(monkeypatch, tmp_path):
    pretended_mps(tmp_path, monkeypatch, "echo An instance is running >&2; exit 1")
    with pytest.raises(UserError, match="does not start: An instance is running"), side_by_side():
        pass


def test_it_does_not_end(monkeypatch, tmp_path, capsys):
    """What the sweep has done stays done."""
    pretended_mps(tmp_path, monkeypatch, '[ "$word" = -d ] || exec sleep 60')
    monkeypatch.setattr(mps, "SECONDS", 0.2)
    with side_by_side():
        pass
    assert f"note: {CONTROL} does not end" in capsys.readouterr().err
