"""Cores: those of the machine, or those that a container has time for."""

import os

import pytest

from cifar100x import cores


@pytest.mark.parametrize(
    ("limit", "expected"), [("max 100000", None), ("150000 100000", 1), ("20000 100000", 1), ("99900000 100000", None)]
)
def test_a_container_s_share_of_the_processors(limit, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(cores, "CPU_LIMIT", tmp_path / "cpu.max")
    assert cores.num_cores() == len(os.sched_getaffinity(0)), "no container"
    cores.CPU_LIMIT.write_text(f"{limit}\n")
    assert cores.num_cores() == (expected or len(os.sched_getaffinity(0)))
