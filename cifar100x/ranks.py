"""The processes of one run on several devices, which Lightning starts: its ranks.

Nothing heavy is imported, so that a command knows what it is before it imports.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

RANK_OF = "CIFAR100X_RANK_OF"
"""Variable by which our launcher tells a process that it is a rank: the number of the process that started it."""
RANKS = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_PROCID", "SLURM_LOCALID",
    "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "OMPI_COMM_WORLD_RANK", "PMI_RANK",
)  # fmt: skip
"""Variables by which launchers make a process one of several of the same run."""


def is_rank() -> bool:
    """Whether this process is one of several of the same run, started by the first of them."""
    return os.environ.get(RANK_OF) == str(os.getppid())


def forget_ranks() -> None:
    """Be the first process of a run, whatever srun, torchrun or mpirun say: only our own launcher makes others.

    Lightning looks when it is imported.
    """
    if is_rank():
        return
    for name in (*RANKS, RANK_OF):
        os.environ.pop(name, None)


@contextmanager
def launching_ranks() -> Iterator[None]:
    """Processes that are started meanwhile are ranks of the run of this one."""
    os.environ[RANK_OF] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[RANK_OF]
