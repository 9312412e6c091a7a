"""Building an image store part by part, beside its place: a builder that was killed is taken up where it was."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cifar100x.data.classes import Classes
from cifar100x.data.store import IMAGE_SHAPE, SCHEMA, ImageStore, fingerprint_of, store_path
from cifar100x.disk.owner import HeldError, Owner, owned
from cifar100x.disk.writing import cannot_write, put_in_place, write_json
from cifar100x.errors import UserError

PATIENCE_SECONDS = 5.0  # after which who waits says for whom
COMMIT_BYTES = 1 << 27  # how much of a build is lost at most when its machine is switched off


@dataclass(frozen=True)
class Part:
    """Images that a builder adds to a split.

    Args:
        split: name of the split; the parts of one come one after the other.
        arrays: `images`, and `fine` and `coarse` if there are labels; rows as in the store.
        origin: where these images come from, if a store has images from several places: counted in the manifest.
    """

    split: str
    arrays: dict[str, np.ndarray]
    origin: str | None = None


def open_or_build(
    cache: Path,
    kind: str,
    identity: dict[str, Any],
    parts: Callable[[int], Iterable[Part]],
    classes: Classes | None = None,
) -> ImageStore:
    """Open the store of a source, building it first if this is the first time anybody asks.

    Args:
        cache: folder of all stores.
        kind: name of the data set, the readable part of the store's name.
        identity: what distinguishes this source from others of its kind; JSON-able.
        parts: as for `build`.
        classes: what the labels mean, if there are any.

    Raises:
        UserError: the source is bad, or the cache cannot be written.
    """
    path = store_path(cache, kind, identity)
    if not path.exists():
        build(path, kind, identity, parts, classes)
    return ImageStore(path)


def build(
    path: Path,
    kind: str,
    identity: dict[str, Any],
    parts: Callable[[int], Iterable[Part]],
    classes: Classes | None = None,
) -> None:
    """Build a store unless somebody else just did.

    Two processes may come at the same time: one builds, the other waits. A build that fails leaves nothing; one that is
    killed or interrupted is taken up by the next caller.

    Args:
        path: of the store, from `store_path`.
        kind: as for `open_or_build`, for the manifest.
        identity: the same.
        parts: makes the parts of the store, always the same ones in the same order, leaving out as many of the first
            as it is told.
        classes: what the labels mean, if there are any.

    Raises:
        UserError: the source is bad, or the cache cannot be written.
    """
    try:
        with alone_at(path) as builder:
            if not path.exists():
                about = {"kind": kind, "identity": identity, "classes": vars(classes) if classes else {}}
                _build(path, about, parts, builder)
    except OSError as error:
        raise UserError(f"{cannot_write(f'the image store {path}', error)}, with cache=/path") from error


@contextmanager
def alone_at(path: Path) -> Iterator[Owner]:
    """Be the only one who makes a store, in a folder beside its place; who waits for another for long says for whom."""
    site = path.with_name(f"{path.name}.building")
    site.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            owner = held.enter_context(owned(site, PATIENCE_SECONDS))
        except HeldError as error:
            print(f"waiting for {error.who}, which makes the image store {path}", file=sys.stderr, flush=True)
            owner = held.enter_context(owned(site))
        yield owner


@dataclass
class _Progress:
    """How far a build has come: whole parts only."""

    num_parts: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    origins: dict[str, int] = field(default_factory=dict)
    arrays: list[str] = field(default_factory=list)

    def add(self, part: Part) -> None:
        """Count a part."""
        if part.split in self.splits and part.split != list(self.splits)[-1]:
            raise ValueError(f"a part of {part.split!r} after parts of {list(self.splits)[-1]!r}")
        rows = len(part.arrays["images"])
        self.num_parts += 1
        self.splits[part.split] = self.splits.get(part.split, 0) + rows
        self.arrays = list(part.arrays)
        if part.origin:
            self.origins[part.origin] = self.origins.get(part.origin, 0) + rows


def _build(path: Path, about: dict[str, Any], parts: Callable[[int], Iterable[Part]], builder: Owner) -> None:
    partial = builder.folder / "partial"
    log = partial / "progress.json"
    progress = _Progress(**json.loads(log.read_text())) if log.exists() else _Progress()
    partial.mkdir(exist_ok=True)
    uncommitted = 0
    try:
        with ExitStack() as stack:
            num_rows, num_classes = sum(progress.splits.values()), len(about["classes"].get("names", ()))
            files = {
                name: stack.enter_context(_GrowingArray(partial, name, num_classes, num_rows))
                for name in progress.arrays
            }
            for part in parts(progress.num_parts):
                for name in part.arrays:
                    if name not in files:
                        files[name] = stack.enter_context(_GrowingArray(partial, name, num_classes))
                    files[name].append(part.arrays[name])
                progress.add(part)
                uncommitted += part.arrays["images"].nbytes
                del part  # before the next one is made: a part may be large
                builder.check()
                if uncommitted >= COMMIT_BYTES:
                    for file in files.values():
                        file.flush()
                    write_json(log, vars(progress))
                    uncommitted = 0
        manifest = {
            "schema": SCHEMA,
            "source": about["identity"].get("path", about["kind"]),
            **about,
            "splits": progress.splits,
            "origins": progress.origins,
            "arrays": progress.arrays,
            "image_shape": IMAGE_SHAPE,
            "fingerprint": fingerprint_of(partial, progress.arrays),
        }
        builder.check()
        write_json(partial / "manifest.json", manifest)
        log.unlink(missing_ok=True)
        put_in_place(partial, path)
    except Exception:
        if builder.holds:
            shutil.rmtree(partial, ignore_errors=True)
        raise


class _GrowingArray:
    """A .npy file of uint8, or uint16 for many classes, to append rows to.

    Its header, always of one length, is written when it is closed.

    It is written through a file and not through a map: a full disk is then an error, not a crash.
    """

    def __init__(self, folder: Path, name: str, num_classes: int, num_rows: int = 0):
        self.num_rows, self.row_shape = num_rows, IMAGE_SHAPE if name == "images" else ()
        self.type = np.dtype("<u2" if name != "images" and num_classes > 256 else "|u1")
        path = folder / f"{name}.npy"
        self.file = path.open("r+b" if num_rows else "wb")
        self._write_header()
        self.file.truncate(
            self.file.tell() + num_rows * self.type.itemsize * int(np.prod(self.row_shape))
        )  # rows of an unfinished part
        self.file.seek(0, os.SEEK_END)

    def append(self, rows: np.ndarray) -> None:
        """Add rows at the end; UserError if they hold what the file cannot."""
        most = np.iinfo(self.type).max
        if rows.dtype != self.type and rows.size and not (rows.min() >= 0 and rows.max() <= most):
            raise UserError(f"labels run from {rows.min()} to {rows.max()}, expected 0..{most}")
        self.file.write(np.ascontiguousarray(rows, self.type).data)
        self.num_rows += len(rows)

    def flush(self) -> None:
        """Put on the disk what there is."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def _write_header(self) -> None:
        header = {"descr": self.type.str, "fortran_order": False, "shape": (self.num_rows, *self.row_shape)}
        self.file.seek(0)
        np.lib.format.write_array_header_1_0(self.file, header)

    def __enter__(self) -> "_GrowingArray":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self.file:
            if kind is None:  # else it is not whole, and may be somebody else's by now
                self._write_header()
                self.flush()
