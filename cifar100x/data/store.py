"""An image store: the images of one data set as one uint8 memory map, with labels and a manifest.

    images.npy     uint8 (N, 3, 32, 32), red, green and blue planes
    fine.npy       uint8 (N,), the class
    coarse.npy     uint8 (N,), the superclass
    manifest.json  source, kind, counts of the splits, class names, fingerprint

The splits lie one after the other in the order of the manifest. A store is written beside its place and moved
there when it is complete, so a store that exists is whole.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from cifar100x.errors import UserError

SCHEMA = 1
IMAGE_SHAPE = (3, 32, 32)


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, 3, 32, 32) with their fine and coarse labels, uint8 (N,) each."""

    images: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray


class ImageStore:
    """A store opened for reading; images stay on disk until they are touched.

    Raises:
        UserError: the folder is not a store, or its files are not the ones its manifest was written for.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self.manifest: dict[str, Any] = json.loads((path / "manifest.json").read_text())
            schema, found = self.manifest["schema"], _fingerprint(path)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path} is damaged ({error}): delete it and run again") from error
        if schema != SCHEMA:
            raise UserError(f"{path} has store schema {schema}, expected {SCHEMA}: delete it and run again")
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
            UserError: the source of this store had no such split.
        """
        counts: dict[str, int] = self.manifest["splits"]
        if name not in counts:
            raise UserError(
                f"the data from {self.manifest['source']} has no {name!r} split (it has {', '.join(counts)}): "
                f"name a source that has one with data.source"
            )
        names = list(counts)
        start = sum(counts[earlier] for earlier in names[: names.index(name)])
        here = slice(start, start + counts[name])
        return Split(*(np.load(self.path / file, mmap_mode="r")[here] for file in _FILES))


_FILES = ("images.npy", "fine.npy", "coarse.npy")


def open_or_build(
    cache: Path, kind: str, identity: dict[str, Any], build: Callable[[], dict[str, Split]], class_names: Iterable[str]
) -> ImageStore:
    """Open the store of a source, building it first if this is the first time anybody asks.

    Two processes may come at the same time: one builds, the other waits and opens what the first built. A build that
    fails or is killed leaves no store.

    Args:
        cache: folder of all stores.
        kind: name of the data set, the readable part of the store's name.
        identity: what distinguishes this source from others of its kind; JSON-able.
        build: makes the splits; called only if there is no store yet.
        class_names: names of the fine labels.

    Raises:
        UserError: the source is bad, or the cache cannot be written.
    """
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    path = cache.expanduser() / f"{kind}-{key}"
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                if not path.exists():
                    _write(path, kind, identity, build(), list(class_names))
        except OSError as error:
            raise UserError(
                f"cannot write the image store {path}: {error.strerror or error}; "
                "free the disk or name another folder with cache=/path"
            ) from error
    return ImageStore(path)


def _write(path: Path, kind: str, identity: dict[str, Any], splits: dict[str, Split], class_names: list[str]) -> None:
    partial = path.with_name(f"{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a builder that was killed; the lock says it is gone
    partial.mkdir()
    try:
        for name, parts in zip(
            _FILES, zip(*((s.images, s.fine, s.coarse) for s in splits.values()), strict=True), strict=True
        ):
            _write_array(partial / name, parts)
        manifest = {
            "schema": SCHEMA,
            "kind": kind,
            "source": identity.get("path", kind),
            "identity": identity,
            "splits": {name: len(split.images) for name, split in splits.items()},
            "image_shape": IMAGE_SHAPE,
            "class_names": class_names,
            "fingerprint": _fingerprint(partial),
        }
        with (partial / "manifest.json").open("w") as file:
            json.dump(manifest, file, indent=1)
            os.fsync(file.fileno())
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write_array(path: Path, parts: tuple[np.ndarray, ...]) -> None:
    """Write the parts as one .npy, through the file and not a map: a full disk is then an error, not a crash."""
    shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
        )
        for part in parts:
            file.write(np.ascontiguousarray(part, np.uint8).data)
        file.flush()
        os.fsync(file.fileno())


def _fingerprint(path: Path) -> str:
    digest = hashlib.sha256()
    for name in _FILES:
        with (path / name).open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
