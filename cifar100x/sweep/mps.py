"""Several processes on one GPU at the same time, by NVIDIA's Multi-Process Service (MPS)."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from cifar100x.errors import UserError

CONTROL = "nvidia-cuda-mps-control"
SECONDS = 30.0  # that it may take to end


@contextmanager
def side_by_side() -> Iterator[None]:
    """Let the kernels of all processes that are started meanwhile run beside each other; else a GPU takes turns.

    Raises:
        UserError: the service is not there, or does not start.
    """
    control = shutil.which(CONTROL)
    if control is None:
        raise UserError(f"launch.mps is true, but {CONTROL}, which comes with NVIDIA's driver, is not on the PATH here")
    with tempfile.TemporaryDirectory(prefix="mps") as folder:
        places = dict.fromkeys(("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"), folder)
        before = {name: os.environ.pop(name, None) for name in places}
        os.environ |= places
        try:
            # Who masks GPUs for the service renumbers them, and jobs are given the numbers from before
            unmasked = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
            started = subprocess.run([control, "-d"], env=unmasked, capture_output=True, text=True)
            if started.returncode:
                reason = " ".join((started.stderr or started.stdout).split())
                raise UserError(f"launch.mps is true, but {CONTROL} does not start: {reason}")
            try:
                yield
            finally:
                try:
                    subprocess.run([control], input="quit\n", capture_output=True, text=True, timeout=SECONDS)
                except subprocess.TimeoutExpired:
                    print(f"note: {CONTROL} does not end; its folder was {folder}", file=sys.stderr)
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value
