"""The machine a run is on: what it is, what it is fast at, and which code it runs."""

import ctypes
import logging
import os
import platform
import subprocess
import warnings
from functools import cache
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_only

from cifar100x.cores import num_cores
from cifar100x.errors import UserError

os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as nvidia-smi and Ray count GPUs; CUDA's own is by speed

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {"float32": "32-true", "bf16": "bf16-mixed"}
"""Lightning's names of the precisions a run can have."""


def resolve_precision(precision: str, device: torch.device) -> str:
    """Choose bf16 mixed precision where the hardware multiplies it faster than float32; a choice already made stays.

    Raises:
        UserError: the precision is neither auto, float32 nor bf16.
    """
    if precision in PRECISIONS:
        return precision
    if precision != "auto":
        raise UserError(f"trainer.precision is {precision!r}, expected auto, {' or '.join(PRECISIONS)}")
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        on_amd = "AMD" in str(able.get("cpu_name"))  # an Intel Xeon without AMX took 1.6 times as long in bf16
        return "bf16" if able.get("amx_bf16") or (able.get("avx512_bf16") and on_amd) else "float32"
    return "float32"


def resolve_device(accelerator: str) -> torch.device:
    """Find the device of an accelerator: cpu, gpu, or auto for a GPU that has float64, which statistics need, if any.

    Raises:
        UserError: there is no such accelerator here, or torch cannot use it.
    """
    if accelerator not in ("auto", "cpu", "gpu"):
        raise UserError(f"trainer.accelerator is {accelerator!r}, expected auto, cpu or gpu")
    found = torch.accelerator.current_accelerator(check_available=True)
    if accelerator == "gpu" and found is None:
        raise UserError("trainer.accelerator is gpu, but this machine has none that torch can use: choose trainer=cpu")
    if found is None or accelerator == "cpu" or (accelerator == "auto" and found.type == "mps"):
        return torch.device("cpu")
    if found.type == "cuda":
        try:
            torch.cuda.init()  # so far NVIDIA's driver was asked how many there are, and no more
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"torch cannot use this machine's GPU ({reason}): update its driver, or choose trainer=cpu"
            ) from error
    return found


def resolve_devices(num_devices: int, device: torch.device) -> int:
    """How many devices a run is on; -1 stands for all GPUs there are.

    Raises:
        UserError: there are not so many.
    """
    there = num_gpus() if device.type != "cpu" else num_cores()
    found = there if num_devices == -1 and device.type != "cpu" else num_devices
    if not 1 <= found <= there:
        what = "GPUs" if device.type != "cpu" else "processes on the cores of a CPU"
        raise UserError(f"trainer.devices is {num_devices}, expected 1..{there} ({what})")
    return found


def rank() -> int:
    """Which of the processes of a run on several devices this is."""
    return getattr(rank_zero_only, "rank", 0)


def num_gpus() -> int:
    """GPUs that this process may use; none of them is touched."""
    return torch.accelerator.device_count() if torch.accelerator.is_available() else 0


def allow_tf32(allowed: bool) -> None:
    """Choose whether convolutions on an NVIDIA GPU may round float32 to 10 bits of mantissa, torch's default."""
    torch.backends.cudnn.allow_tf32 = allowed


def keep_pages() -> None:
    """Tell glibc to keep freed memory instead of returning it to the kernel after every tensor.

    A training step on a CPU frees and claims the same large blocks each time; fresh pages must be zeroed first. Where
    the C library is another one, nothing is changed.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)


def quiet() -> None:
    """Silence advice of libraries that a user can do nothing about."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", module="torchmetrics.*")


def environment(device: torch.device, precision: str) -> dict[str, Any]:
    """Describe code, libraries and hardware, for the record of a run."""
    return {
        **commit(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def device_name(device: torch.device) -> str:
    """Name a device as its maker does."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine()


@cache
def commit() -> dict[str, Any]:
    """Name the commit of the code and whether files differ from it; None for an installed wheel."""

    def git(*arguments: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # else this is a wheel inside somebody else's repository
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
