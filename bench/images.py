"""Building an image store against a plain copy of the same bytes, and batches from disk against batches from memory.

    python -m bench.images [FOLDER] [NUMBER]

writes a set of NUMBER images (default 1,331,167, as many as ImageNet32 has: 17 GB are needed for a while) in the pickle
layout to a new folder in FOLDER (default: the system's place for temporary files), builds its store, and removes both.
"""

import argparse
import contextlib
import os
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from cifar100x.data.batches import BatchSampler, BlockShuffledBatches, ImagesInMemory
from cifar100x.data.store import ImageStore

IMAGENET32_IMAGES, BATCH_IMAGES = 1_331_167, 128_116
BATCH_SIZE, ROUNDS = 50, 3


def write_pickles(folder: Path, num_images: int) -> None:
    """Write random images as ImageNet32 is handed out."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number, start in enumerate(range(0, num_images, BATCH_IMAGES), start=1):
        count = min(BATCH_IMAGES, num_images - start)
        data = np.frombuffer(generator.bytes(count * 3072), np.uint8).reshape(count, 3072)
        with (folder / f"train_data_batch_{number}").open("wb") as file:
            pickle.dump({"data": data, "labels": [1] * count, "mean": np.zeros(3072)}, file)


def copy(source: Path, target: Path) -> None:
    """Copy a folder and wait until it is on the disk, as building a store does."""
    target.mkdir()
    for path in source.iterdir():
        with path.open("rb") as there, (target / path.name).open("wb") as here:
            shutil.copyfileobj(there, here, 1 << 20)
            here.flush()
            os.fsync(here.fileno())


def build(source: Path, cache: Path) -> int:
    """Build the store as a run does, and return how much memory that took, in bytes."""
    process = subprocess.Popen([sys.executable, "-m", "cifar100x.data.imagenet", str(cache), str(source)])
    peak = 0
    while process.poll() is None:
        peak = max(peak, *peaks(process.pid), 0)
        time.sleep(0.01)
    if process.returncode:
        raise RuntimeError(f"the build ended with status {process.returncode}")
    return peak


def peaks(pid: int) -> Iterator[int]:
    """The largest resident memory that a process had so far, in bytes, as Linux tells it; nothing if it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                yield int(line.split()[1]) * 1024


def images_per_second(batches: Iterable[Any]) -> float:
    """Speed of going once through all batches."""
    seen, started = 0, time.perf_counter()
    for batch in batches:
        seen += len(batch)
    return seen / (time.perf_counter() - started)


def main() -> None:
    """Measure and print medians and ratios."""
    parser = argparse.ArgumentParser("bench.images", description="An image store against a plain copy of its bytes.")
    parser.add_argument("folder", nargs="?", help="where to make a new one for all that is written")
    parser.add_argument("number", type=int, nargs="?", default=IMAGENET32_IMAGES, help="of images")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=asked.folder))
    try:
        measure(folder, asked.number)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, num_images: int) -> None:
    """Everything, in a folder that the caller removes."""
    write_pickles(folder / "source", num_images)
    megabytes = sum(path.stat().st_size for path in (folder / "source").iterdir()) / 1e6
    seconds: dict[str, list[float]] = {"plain copy": [], "store": []}
    for _ in range(ROUNDS):
        started = time.perf_counter()
        copy(folder / "source", folder / "copy")
        seconds["plain copy"].append(time.perf_counter() - started)
        shutil.rmtree(folder / "copy")
        shutil.rmtree(folder / "cache", ignore_errors=True)
        started = time.perf_counter()
        peak = build(folder / "source", folder / "cache")
        seconds["store"].append(time.perf_counter() - started)
    print(f"{num_images:,} images, {megabytes:,.0f} MB of pickles")
    for way, measured in seconds.items():
        typical = statistics.median(measured)
        spread = f"(of {ROUNDS}: {min(measured):.1f} to {max(measured):.1f})"
        print(f"  {way:12} {typical:6.1f} s  {spread}  {megabytes / typical:6.0f} MB/s")
    ratios = [theirs / ours for theirs, ours in zip(*seconds.values(), strict=True)]
    print(f"  speed of the store, the copy's being 1: {statistics.median(ratios):.2f}; peak memory {peak / 1e9:.2f} GB")

    (path,) = (folder / "cache").glob("imagenet32-????????????")
    store = ImageStore(path)
    indices = np.arange(num_images)
    in_memory = ImagesInMemory(torch.from_numpy(np.array(store.images("train"))), torch.zeros(num_images))
    sampler = BatchSampler(torch.from_numpy(indices), BATCH_SIZE, (0,))
    epoch = 0
    on_disk = BlockShuffledBatches(
        lambda: store.images("train"), indices, BATCH_SIZE, (0,), lambda: epoch, torch.device("cpu")
    )
    speeds: dict[str, list[float]] = {"from memory": [], "from disk": []}
    for epoch in range(ROUNDS):
        sampler.set_epoch(epoch)
        loader = DataLoader(in_memory, sampler=sampler, batch_size=None)
        speeds["from memory"].append(images_per_second(images for images, _ in loader))
        speeds["from disk"].append(images_per_second(on_disk))
    for way, measured in speeds.items():
        print(f"  batches {way:12} {statistics.median(measured):12,.0f} images/s")
    ratios = [disk / memory for memory, disk in zip(*speeds.values(), strict=True)]
    print(f"  ratio {statistics.median(ratios):.2f}  ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
