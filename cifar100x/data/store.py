"""An image store: the images of one data set as one uint8 memory map, with labels if there are any, and a manifest.

    images.npy     uint8 (N, 3, 32, 32), red, green and blue planes
    fine.npy       uint8 (N,), or uint16 of more than 256 classes; absent where images have no labels
    coarse.npy     uint8 (N,), the superclass; the same
    manifest.json  source, kind, counts of the splits, class names, fingerprint
    checked.json   sizes and times of the files when they were last held against the fingerprint

The splits lie one after the other in the order of the manifest. A store is written part by part beside its place and
moved there when it is complete, so a store that exists is whole; a builder that was killed is taken up where it was.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cifar100x.data.classes import CIFAR100, Classes
from cifar100x.disk.writing import write_json
from cifar100x.errors import UserError

SCHEMA = 2
IMAGE_SHAPE = (3, 32, 32)
EVAL_BATCH_SIZE = 250
"""Images that a network is asked about at once."""
REMEDY = "restore it, or move it elsewhere and let a run make it anew from your copy of the images"


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, 3, 32, 32) with their fine and coarse labels (N,), integers: as small as can be in a store."""

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
            found = _checked_fingerprint(path, self.manifest["arrays"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is damaged ({error}): {REMEDY}") from error
        if found != self.fingerprint:
            raise UserError(
                f"{path} is damaged: its fingerprint is {found[:12]}, its manifest says {self.fingerprint[:12]}: "
                f"{REMEDY}"
            )

    @property
    def fingerprint(self) -> str:
        """SHA-256 over images and labels, wherever they came from; it does not tell where the splits part."""
        return self.manifest["fingerprint"]

    @property
    def classes(self) -> Classes:
        """What the labels mean; none where there are no labels."""
        if "classes" not in self.manifest:  # it was built when there were CIFAR-100's alone
            return CIFAR100 if self.manifest["class_names"] else Classes(())
        return Classes.of(self.manifest["classes"])

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
                f"start from a source that has one, with data.source and another study=NAME"
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


def store_path(cache: Path, kind: str, identity: dict[str, Any]) -> Path:
    """Where the store of a source is or will be."""
    key = hashlib.sha256(json.dumps([SCHEMA, identity], sort_keys=True).encode()).hexdigest()[:12]
    return cache.expanduser() / f"{kind}-{key}"


def found_store(folder: Path, source: Path) -> ImageStore | None:
    """The store that a source is, by its path or by its name in the folder of stores; None if it is something else.

    Other folders may have a manifest.json of their own.
    """
    files = ("manifest.json", "images.npy")
    places = (place for place in (source, folder / source) if all((place / file).exists() for file in files))
    return next(map(ImageStore, places), None)


def store_of(folder: Path, images: Mapping[str, Any]) -> ImageStore:
    """The store in a folder of stores that holds the images of a run: nothing is built, fetched or sought elsewhere.

    Args:
        folder: of stores.
        images: what the config of the run says of them under `data`: `fingerprint`, of all in whichever splits, and
            `num_train`, how many are for training, which earlier versions did not say.

    Raises:
        UserError: there is none.
    """
    fingerprint, num_train = images["fingerprint"], images.get("num_train")
    for manifest in sorted(folder.glob("*/manifest.json")):
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            found = json.loads(manifest.read_text())
            if found.get("fingerprint") == fingerprint and num_train in (None, found["splits"].get("train")):
                return ImageStore(manifest.parent)
    raise UserError(
        f"the images that these runs were trained on, {fingerprint[:12]}, are not among the stores in {folder}: name "
        "the folder that holds them with cache=/path, or let a run make their store from your copy"
    )


def fingerprint_of(path: Path, arrays: Iterable[str]) -> str:
    """SHA-256 over the contents of a store's files."""
    digest = hashlib.sha256()
    for name in arrays:
        with (path / f"{name}.npy").open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _checked_fingerprint(path: Path, arrays: Iterable[str]) -> str:
    """The fingerprint of a store, noted beside its files with their sizes and times for all who open it later."""
    names = [f"{name}.npy" for name in arrays]
    files = {name: [(path / name).stat().st_size, (path / name).stat().st_mtime_ns] for name in names}
    note = path / "checked.json"
    with suppress(OSError, ValueError):
        noted = json.loads(note.read_text())
        if noted["files"] == files:
            return noted["fingerprint"]
    fingerprint = fingerprint_of(path, arrays)
    with suppress(OSError, UserError):  # a cache that cannot be written is checked every time
        write_json(note, {"files": files, "fingerprint": fingerprint})
    return fingerprint
