"""An image store: the images of one data set as one uint8 memory map, with labels if there are any, and a manifest.

    images.npy     uint8 (N, 3, 32, 32), red, green and blue planes
    fine.npy       uint8 (N,), the class; absent where images have no labels
    coarse.npy     uint8 (N,), the superclass; the same
    manifest.json  source, kind, counts of the splits, class names, fingerprint
    checked.json   sizes and times of the files when they were last held against the fingerprint

The splits lie one after the other in the order of the manifest. A store is written part by part beside its place and
moved there when it is complete, so a store that exists is whole; a builder that was killed is taken up where it was.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from cifar100x.disk.writing import write_json
from cifar100x.errors import UserError

SCHEMA = 2
IMAGE_SHAPE = (3, 32, 32)
COMMIT_BYTES = 1 << 27  # how much of a build is lost at most when its machine is switched off


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, 3, 32, 32) with their fine and coarse labels, uint8 (N,) each."""

    images: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray


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


class ImageStore:
    """A store opened for reading; images stay on disk until they are touched.

    Raises:
        UserError: the folder is not a store, or its files are not the ones its manifest was written for.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self.manifest: dict[str, Any] = json.loads((path / "manifest.json").read_text())
            found = _checked_fingerprint(path, self.manifest["arrays"])
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path} is damaged ({error}): delete it and run again") from error
        if found != self.fingerprint:
            raise UserError(
                f"{path} is damaged: its fingerprint is {found[:12]}, its manifest says {self.fingerprint[:12]}: "
                "delete it and run again"
            )

    @property
    def fingerprint(self) -> str:
        """SHA-256 over images and labels: equal fingerprints mean equal data, wherever it came from."""
        return self.manifest["fingerprint"]

    @property
    def class_names(self) -> list[str]:
        """Names of the fine labels, in order."""
        return self.manifest["class_names"]

    def split(self, name: str) -> Split:
        """Return one split as views into the memory map.

        Raises:
            UserError: the source of this store had no such split, or no labels.
        """
        if "fine" not in self.manifest["arrays"]:
            raise UserError(
                f"the images from {self.manifest['source']} have no labels: they serve for pre-training only "
                "(experiment=pretrain); classifiers train on data=cifar100 or data=synthetic"
            )
        return Split(*(self._rows(array, name) for array in ("images", "fine", "coarse")))

    def images(self, name: str) -> np.ndarray:
        """Return the images of one split, uint8 (N, 3, 32, 32), as a view into a memory map opened anew.

        Raises:
            UserError: the source of this store had no such split.
        """
        return self._rows("images", name)

    def _rows(self, array: str, split: str) -> np.ndarray:
        counts: dict[str, int] = self.manifest["splits"]
        if split not in counts:
            raise UserError(
                f"the data from {self.manifest['source']} has no {split!r} split (it has {', '.join(counts)}): "
                f"name a source that has one with data.source"
            )
        names = list(counts)
        start = sum(counts[earlier] for earlier in names[: names.index(split)])
        whole = np.load(
            self.path / f"{array}.npy", mmap_mode="c"
        )  # never written back, but torch wants writable arrays
        return whole[start : start + counts[split]]


def cache_folder(cache: str | None) -> Path:
    """The folder of all stores: the one that is named, or $CIFAR100X_CACHE, or ~/.cache/cifar100x."""
    return Path(cache or os.environ.get("CIFAR100X_CACHE") or "~/.cache/cifar100x").expanduser()


def found_store(folder: Path, source: Path) -> ImageStore | None:
    """The store that a source is, by its path or by its name in the folder of stores; None if it is something else."""
    places = (place for place in (source, folder / source) if (place / "manifest.json").exists())
    return next(map(ImageStore, places), None)


def open_or_build(
    cache: Path,
    kind: str,
    identity: dict[str, Any],
    parts: Callable[[int], Iterable[Part]],
    class_names: Iterable[str] = (),
) -> ImageStore:
    """Open the store of a source, building it first if this is the first time anybody asks.

    Args:
        cache: folder of all stores.
        kind: name of the data set, the readable part of the store's name.
        identity: what distinguishes this source from others of its kind; JSON-able.
        parts: as for `build`.
        class_names: names of the fine labels.

    Raises:
        UserError: the source is bad, or the cache cannot be written.
    """
    path = store_path(cache, kind, identity)
    if not path.exists():
        build(path, kind, identity, parts, class_names)
    return ImageStore(path)


def store_path(cache: Path, kind: str, identity: dict[str, Any]) -> Path:
    """Where the store of a source is or will be."""
    key = hashlib.sha256(json.dumps([SCHEMA, identity], sort_keys=True).encode()).hexdigest()[:12]
    return cache.expanduser() / f"{kind}-{key}"


def build(
    path: Path,
    kind: str,
    identity: dict[str, Any],
    parts: Callable[[int], Iterable[Part]],
    class_names: Iterable[str] = (),
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
        class_names: names of the fine labels.

    Raises:
        UserError: the source is bad, or the cache cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.exists():
                _build(path, {"kind": kind, "identity": identity, "class_names": list(class_names)}, parts)
    except OSError as error:
        raise UserError(
            f"cannot write the image store {path}: {error.strerror or error}; "
            "free the disk or name another folder with cache=/path"
        ) from error


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


def _build(path: Path, about: dict[str, Any], parts: Callable[[int], Iterable[Part]]) -> None:
    partial = path.with_name(f"{path.name}.partial")
    log = partial / "progress.json"
    progress = _Progress(**json.loads(log.read_text())) if log.exists() else _Progress()
    partial.mkdir(exist_ok=True)
    uncommitted = 0
    try:
        with ExitStack() as stack:
            num_rows = sum(progress.splits.values())
            files = {name: stack.enter_context(_GrowingArray(partial, name, num_rows)) for name in progress.arrays}
            for part in parts(progress.num_parts):
                for name in part.arrays:
                    if name not in files:
                        files[name] = stack.enter_context(_GrowingArray(partial, name))
                    files[name].append(part.arrays[name])
                progress.add(part)
                uncommitted += part.arrays["images"].nbytes
                del part  # before the next one is made: a part may be large
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
            "fingerprint": _fingerprint(partial, progress.arrays),
        }
        write_json(partial / "manifest.json", manifest)
        log.unlink(missing_ok=True)
        partial.rename(path)
    except Exception:
        shutil.rmtree(partial, ignore_errors=True)
        raise


class _GrowingArray:
    """A .npy file of uint8 to append rows to; its header, always of one length, is written when it is closed.

    It is written through a file and not through a map: a full disk is then an error, not a crash.
    """

    def __init__(self, folder: Path, name: str, num_rows: int = 0):
        self.num_rows, self.row_shape = num_rows, IMAGE_SHAPE if name == "images" else ()
        path = folder / f"{name}.npy"
        self.file = path.open("r+b" if num_rows else "wb")
        self._write_header()
        self.file.truncate(self.file.tell() + num_rows * int(np.prod(self.row_shape)))  # rows of an unfinished part
        self.file.seek(0, os.SEEK_END)

    def append(self, rows: np.ndarray) -> None:
        """Add rows at the end; UserError if they hold what uint8 cannot."""
        if rows.dtype != np.uint8 and rows.size and not (rows.min() >= 0 and rows.max() <= 255):
            raise UserError(f"labels run from {rows.min()} to {rows.max()}, expected 0..255")
        self.file.write(np.ascontiguousarray(rows, np.uint8).data)
        self.num_rows += len(rows)

    def flush(self) -> None:
        """Put on the disk what there is."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def _write_header(self) -> None:
        header = {"descr": "|u1", "fortran_order": False, "shape": (self.num_rows, *self.row_shape)}
        self.file.seek(0)
        np.lib.format.write_array_header_1_0(self.file, header)

    def __enter__(self) -> "_GrowingArray":
        return self

    def __exit__(self, *_: object) -> None:
        with self.file:
            self._write_header()
            self.flush()


def _fingerprint(path: Path, arrays: Iterable[str]) -> str:
    """SHA-256 over the contents of a store's files."""
    digest = hashlib.sha256()
    for name in arrays:
        with (path / f"{name}.npy").open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _checked_fingerprint(path: Path, arrays: Iterable[str]) -> str:
    """The same, computed once and noted beside the files, with their sizes and times, for all who open them later."""
    names = [f"{name}.npy" for name in arrays]
    files = {name: [(path / name).stat().st_size, (path / name).stat().st_mtime_ns] for name in names}
    note = path / "checked.json"
    with suppress(OSError, ValueError):
        noted = json.loads(note.read_text())
        if noted["files"] == files:
            return noted["fingerprint"]
    fingerprint = _fingerprint(path, arrays)
    with suppress(OSError, UserError):  # a cache that cannot be written is checked every time
        write_json(note, {"files": files, "fingerprint": fingerprint})
    return fingerprint
