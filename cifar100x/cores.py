"""The cores of this machine."""

import os
from pathlib import Path

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""Processor time that a container may have in a period of time, and the period; the kernel's cgroup v2."""


def num_cores() -> int:
    """Cores that this process may use, of those it is bound to as many as its container has time for."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    time, period = CPU_LIMIT.read_text().split() if CPU_LIMIT.exists() else ("max", "")
    return bound if time == "max" else min(bound, max(1, int(time) // int(period)))
