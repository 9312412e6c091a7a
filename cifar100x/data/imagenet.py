"""ImageNet at 32x32, without labels, from everything people have: pickles, npz, PNGs or JPEG trees of any size."""

import io
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cifar100x.cores import num_cores
from cifar100x.data.building import Part, build
from cifar100x.data.resize import LARGEST_IMAGE_BYTES, decode
from cifar100x.data.store import IMAGE_SHAPE, ImageStore, cache_folder, found_store, store_path
from cifar100x.disk.archives import LARGEST_FILE_BYTES, File, iterate_files, num_bytes, refuse_web_page, signature
from cifar100x.disk.pickles import as_images, read_pickle
from cifar100x.disk.reading import open_npz
from cifar100x.errors import UserError

KIND = "imagenet32"
SPLIT = "train"  # all images serve for pre-training, whatever they were meant for
GROUP_BYTES, GROUP_IMAGES = 1 << 22, 2048  # what a process decodes at a time
GROUPS_AHEAD = 2  # a process
ERROR = "error: "


def open_store(*, cache: str | None, source: str | list[str] | None) -> ImageStore:
    """Open the image store of downsampled ImageNet, building it from `source` on first use.

    Args:
        cache: as for `cache_folder`.
        source: one or several of: the pickles (`train_data_batch_1` ..., `val_data`) or npz files of ImageNet32, the
            older unlabelled 32x32 PNGs, Tiny-ImageNet-200, any tree `<wnid>/*.JPEG`; as a file, a folder, a tar or a
            zip; or an image store, by its path or its name in the cache. None opens the store that was built before.

    Raises:
        UserError: the source holds no such images, or they are damaged; the message says where and how.
    """
    folder = cache_folder(cache)
    if source is None:
        return ImageStore(_built_before(folder))
    sources = [Path(path).expanduser() for path in ([source] if isinstance(source, str) else source)]
    if len(set(sources)) != len(sources) or not sources:
        raise UserError(f"data.source is [{', '.join(map(str, sources))}], expected one or several different places")
    if len(sources) == 1 and (store := found_store(folder, sources[0])):
        return store
    path = store_path(folder, KIND, _identity(sources))
    if not path.exists():
        _build_elsewhere(folder, sources)
    return ImageStore(path)


def _identity(sources: Sequence[Path]) -> dict[str, Any]:
    signatures = [signature(path) for path in sources]
    return {"path": ", ".join(s["path"] for s in signatures), "files": [s["files"] for s in signatures]}


def _build_elsewhere(cache: Path, sources: Sequence[Path]) -> None:
    """Build in a fresh process: without torch it is small, and so are the decoding processes that it forks."""
    command = [sys.executable, "-m", "cifar100x.data.imagenet", str(cache), *map(str, sources)]
    message = None
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as builder:
        try:
            for line in builder.stderr:  # type: ignore[union-attr]
                if line.startswith(ERROR):
                    message = line.removeprefix(ERROR).rstrip("\n")
                else:  # for whom it waits, or the traceback of a bug
                    print(line, end="", file=sys.stderr, flush=True)
        except BaseException:
            builder.kill()
            raise
    if message is not None:
        raise UserError(message)
    if builder.returncode:
        raise RuntimeError(f"the image store could not be built (status {builder.returncode})")


def main() -> None:
    """Build the store of the sources that follow the cache on the command line; standard error says what is wrong."""
    cache, *sources = map(Path, sys.argv[1:])
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    try:
        identity = _identity(sources)
        build(store_path(cache, KIND, identity), KIND, identity, lambda num_done: parts(sources, num_done))
    except UserError as error:
        sys.exit(f"{ERROR}{error}")


def _follow(parent: int) -> None:
    """Go when the parent is gone, killed or not; what was built so far stays for the next one."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def _built_before(folder: Path) -> Path:
    stores = [manifest.parent for manifest in folder.glob(f"{KIND}-*/manifest.json") if manifest.parent.suffix == ""]
    if len(stores) != 1:
        raise UserError(
            f"data.source is not given, and {folder} holds {len(stores) or 'no'} stores of ImageNet made earlier, "
            "expected one: name your copy, as in data.source=[Imagenet32_train.zip,Imagenet32_val.zip]"
        )
    return stores[0]


@dataclass(frozen=True)
class Variant:
    """One form in which ImageNet is handed out.

    Args:
        name: for the manifest.
        pattern: finds its files by the end of their names.
        read: yields the images of such files, uint8 (N, 3, 32, 32), and how many bytes of the source are behind.
    """

    name: str
    pattern: re.Pattern[str]
    read: Callable[[Iterator[File], Callable[[], bool]], Iterator[tuple[np.ndarray, int]]]


def parts(sources: Sequence[Path], num_done: int = 0) -> Iterator[Part]:
    """Yield the images of all sources but those of the first `num_done` parts.

    Raises:
        UserError: no images there, several forms of them in one source, or an unreadable one.
    """
    number = count()
    with _progress(sum(map(num_bytes, sources))) as advance:
        behind = 0
        for source in sources:
            variant = _variant(source)
            origin = f"{source}: {variant.name}"
            for images, end in variant.read(_files_of(variant, source), lambda: next(number) >= num_done):
                advance(len(images), behind + end)
                yield Part(SPLIT, {"images": images}, origin)
                del images  # before the next ones are read
            behind += num_bytes(source)


def _variant(source: Path) -> Variant:
    """Recognise what a source holds by its first file that is of any form."""
    if source.is_file():
        refuse_web_page(source)
    others = []
    for file in iterate_files(source):
        for variant in VARIANTS:
            if variant.pattern.search(file.name):
                return variant
        others.append(file.name)
    archives = [name for name in others if name.endswith((".zip", ".tar", ".tar.gz", ".tgz"))]
    raise UserError(
        f"{source} should hold ImageNet as pickles (train_data_batch_1), npz, PNGs (train_32x32/*.png) or a tree "
        f"<wnid>/*.JPEG; it holds {f'archives: name {archives[0]} itself' if archives else 'none of them'}"
    )


def _files_of(variant: Variant, source: Path) -> Iterator[File]:
    for file in iterate_files(source):
        found = next((other for other in VARIANTS if other.pattern.search(file.name)), None)
        if found is variant:
            yield file
        elif found is not None:
            raise UserError(f"{source} holds {variant.name}, and in {file.name} {found.name}: name one of them")


# --- Arrays ----------------------------------------------------------------------------------------------------------


def _from_pickles(files: Iterator[File], wanted: Callable[[], bool]) -> Iterator[tuple[np.ndarray, int]]:
    for file in files:
        if wanted():
            with file.open() as content:
                images = read_pickle(file.name, content, IMAGE_SHAPE)[0]
            yield images, file.end
            del images


def _from_npz(files: Iterator[File], wanted: Callable[[], bool]) -> Iterator[tuple[np.ndarray, int]]:
    for file in files:
        if wanted():
            with file.open() as content, tempfile.TemporaryFile() as seekable:
                shutil.copyfileobj(content, seekable, 1 << 20)
                seekable.seek(0)
                try:
                    with open_npz(seekable, LARGEST_FILE_BYTES) as arrays:
                        images = as_images(file.name, arrays["data"], IMAGE_SHAPE)
                except UserError:
                    raise
                except Exception as error:  # a hostile file can make the reader raise anything
                    raise UserError(f"{file.name} is not an npz file with an array data ({error})") from error
            yield images, file.end
            del images


# --- Images ----------------------------------------------------------------------------------------------------------


def _from_images(files: Iterator[File], wanted: Callable[[], bool]) -> Iterator[tuple[np.ndarray, int]]:
    """Decode groups of files in several processes; groups come in order, and no more wait than a few for each."""
    num_processes = num_cores()
    context = multiprocessing.get_context("fork")
    pending: deque[tuple[Future[np.ndarray], int]] = deque()
    with ProcessPoolExecutor(num_processes, context, _start_process, (os.getpid(),)) as pool:
        for group, end in _groups(files, wanted):
            pending.append((pool.submit(decode_all, group), end))
            if len(pending) > GROUPS_AHEAD * num_processes:
                future, end = pending.popleft()
                yield future.result(), end
        for future, end in pending:
            yield future.result(), end


def _groups(files: Iterator[File], wanted: Callable[[], bool]) -> Iterator[tuple[list[tuple[str, bytes]], int]]:
    """Read files until there are enough for a group; of groups that are not wanted nothing is read."""
    group: list[tuple[str, bytes]] = []
    size, is_wanted = 0, True
    for file in files:
        if size == 0:
            is_wanted = wanted()
        size += file.num_bytes + 1
        group.append((file.name, file.read(LARGEST_IMAGE_BYTES) if is_wanted else b""))
        if size >= GROUP_BYTES or len(group) == GROUP_IMAGES:
            if is_wanted:
                yield group, file.end
            group, size = [], 0
    if group and is_wanted:
        yield group, file.end


def decode_all(group: Sequence[tuple[str, bytes]]) -> np.ndarray:
    """Decode images of any size and mode, given with their names, to uint8 (N, 3, 32, 32).

    Raises:
        UserError: one is no readable JPEG or PNG.
    """
    images = np.empty((len(group), *IMAGE_SHAPE), np.uint8)
    for place, (name, content) in enumerate(group):
        images[place] = decode(name, io.BytesIO(content), ("JPEG", "PNG"))
    return images


def _start_process(parent: int) -> None:
    """Leave Ctrl-C to the parent, but not its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()


IMAGE = r"\.(JPEG|jpeg|JPG|jpg|PNG|png)$"
VARIANTS = (
    Variant("ImageNet32 pickles", re.compile(r"(^|/)(train_data_batch_\d+|val_data)$"), _from_pickles),
    Variant("ImageNet32 npz", re.compile(r"(^|/)(train_data_batch_\d+|val_data)\.npz$"), _from_npz),
    Variant("unlabelled 32x32 PNGs", re.compile(r"(^|/)(train|valid)_32x32/[^/]+\.png$"), _from_images),
    Variant("Tiny-ImageNet-200", re.compile(rf"(^|/)(n\d{{8}}|val)/images/[^/]+{IMAGE}"), _from_images),
    Variant("ImageNet tree", re.compile(rf"(^|/)(n\d{{8}}|val)/[^/]+{IMAGE}"), _from_images),
)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int, int], None]]:
    """Show a bar over the bytes of the sources, with images per second; yield what moves it: images, bytes behind."""
    bar = Progress(
        TextColumn("image store"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[images]:,} images"),
        TextColumn("{task.fields[rate]:,.0f} images/s"),
        TimeRemainingColumn(),
        auto_refresh=False,  # no thread beside the processes
    )
    bar.disable = not bar.console.is_terminal
    started, images, shown = time.perf_counter(), 0, 0.0
    with bar:
        task = bar.add_task("", total=total, images=0, rate=0.0)

        def advance(more: int, behind: int) -> None:
            nonlocal images, shown
            images += more
            now = time.perf_counter()
            bar.update(task, completed=behind, images=images, rate=images / (now - started))
            if now - shown > 0.1:
                shown = now
                bar.refresh()

        yield advance
        bar.refresh()


if __name__ == "__main__":
    main()
