"""CIFAR-10 and CIFAR-100 from everything people have: official archive, PNG folders or parquet, packed or unpacked."""

import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import pyarrow.parquet as parquet
from PIL import Image

from cifar100x.data.building import Part, open_or_build
from cifar100x.data.classes import Classes
from cifar100x.data.store import IMAGE_SHAPE, ImageStore, Split, cache_folder, found_store
from cifar100x.disk.archives import iterate_files, refuse_web_page, signature
from cifar100x.disk.download import download
from cifar100x.disk.pickles import read_pickle
from cifar100x.errors import UserError

SPLITS = ("train", "test")
PNGS = "PNG folders"
PARQUET_ROWS, MOST_ROWS = 1000, 200_000
LARGEST_PNG_BYTES = 1 << 16  # a 32x32 RGB image is 3 KiB before compression


@dataclass(frozen=True)
class Kind:
    """One of the two data sets.

    Attributes:
        name: as people write it.
        classes: what its labels mean.
        folder: of the official files.
        batch: matches the official files, with the split as its first group.
        splits: what that group stands for.
        labels: their key in the official files.
        superclasses: the key of theirs, if there are any.
        column: of the labels in parquet.
    """

    name: str
    classes: Classes
    folder: str
    batch: re.Pattern[str]
    splits: dict[str, str]
    labels: str
    superclasses: str | None
    column: str

    @property
    def key(self) -> str:
        """The name of its stores."""
        return self.name.lower().replace("-", "")


@dataclass(frozen=True)
class Found:
    """One file of a source.

    Attributes:
        path: in the source.
        place: the folder that its split lies in.
        content: its images with their labels, or of a PNG label, file name and pixels.
    """

    path: PurePosixPath
    place: PurePosixPath
    content: Any


def open_store(kind: Kind, cache: str | None, source: str | None, mirrors: list[str], md5: str) -> ImageStore:
    """Open the image store of a kind, building it from `source` on first use; None downloads the official archive.

    Raises:
        UserError: the source is not that data set, or is damaged; the message says where and how.
    """
    folder = cache_folder(cache)
    path = Path(source).expanduser() if source else None
    if path and (store := found_store(folder, path)):
        return store
    identity = signature(path) if path else {"path": "the official archive", "md5": md5}

    def parts(num_done: int) -> Iterator[Part]:
        splits = read(kind, path or download(mirrors, folder / "downloads", md5))
        return islice((Part(name, vars(split)) for name, split in splits.items()), num_done, None)

    return open_or_build(folder, kind.key, identity, parts, kind.classes)


def read(kind: Kind, source: Path) -> dict[str, Split]:
    """Read the splits of a source of any kind, train first.

    Images keep the order of an official archive or a parquet file; PNGs are ordered by class and file name.

    Raises:
        UserError: not that data set, an unreadable part, or labels and counts that it cannot have.
    """
    source = source.resolve()
    if source.is_file():
        refuse_web_page(source)
    forms: dict[str, dict[str, list[Found]]] = defaultdict(lambda: defaultdict(list))
    for form, split, found in _find(kind, source):
        forms[form][split].append(found)
    if len(forms) != 1:
        held = "none of them" if not forms else "several of them"
        raise UserError(
            f"{source} should hold {kind.name} as official files (in {kind.folder}/), PNG folders "
            f"(train/{kind.classes.names[0]}/*.png) or parquet; it holds {held}"
        )
    (form,) = forms
    splits = {}
    for split in (name for name in SPLITS if name in forms[form]):
        files = forms[form][split]
        _refuse_twice(source, split, files)
        if form == PNGS:
            splits[split] = _from_pngs(kind, split, [file.content for file in files])
        else:
            splits[split] = _concatenate([file.content for file in sorted(files, key=lambda file: str(file.path))])
        _check_counts(kind, f"{source}, {split} split", splits[split].fine)
    return splits


def _find(kind: Kind, source: Path) -> Iterator[tuple[str, str, Found]]:
    """The files of a source that hold images, each with its form and the split that it belongs to."""
    for file in iterate_files(source):
        path = PurePosixPath(file.name)
        if path.suffix == ".png":
            split, label, place = _place(kind, path)
            image = label, path.name, _decode(path, file.read(LARGEST_PNG_BYTES))
            yield PNGS, split, Found(path, place, image)
        elif path.suffix == ".parquet":
            yield "parquet", _split_of(path), Found(path, path.parent, _from_parquet(kind, file.name, file.read()))
        elif (batch := kind.batch.fullmatch(path.name)) and path.parent.name in ("", kind.folder, source.name):
            with file.open() as content:
                part = _from_pickle(kind, file.name, content)
            yield "pickles", kind.splits[batch[1]], Found(path, path.parent, part)


def _refuse_twice(source: Path, split: str, found: list[Found]) -> None:
    """Refuse a split that is there in two copies: its images would be held out and trained on."""
    if len(places := sorted({str(file.place) for file in found})) > 1:
        raise UserError(f"{source} holds images of {split} in {places[0]} and in {places[1]}: name one of them")
    twice = [path for path, count in Counter(file.path for file in found).items() if count > 1]
    if twice:
        raise UserError(f"{source} holds {twice[0]} twice: make the archive anew")


def _check_counts(kind: Kind, where: str, fine: np.ndarray) -> None:
    """Refuse what no copy is: a class missing, or classes of unequal size."""
    names = kind.classes.names
    counts = np.bincount(fine, minlength=len(names))
    if (counts == 0).any():
        missing = [names[label] for label in np.flatnonzero(counts == 0)]
        raise UserError(
            f"{where}: {len(missing)} of the {len(names)} classes have no image ({_few(missing)}): "
            "the copy is incomplete, fetch it again"
        )
    if counts.min() != counts.max():
        usual = Counter(counts.tolist()).most_common(1)[0][0]
        odd = [f"{names[label]} {counts[label]}" for label in np.flatnonzero(counts != usual)]
        raise UserError(f"{where}: classes must be of equal size; most have {usual} images but {_few(odd)}")


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _labelled(kind: Kind, where: str, images: np.ndarray, fine: np.ndarray) -> Split:
    """Add the superclasses; refuse labels that are no classes."""
    if len(fine) and not (fine.min() >= 0 and fine.max() < len(kind.classes)):
        raise UserError(f"{where}: labels run from {fine.min()} to {fine.max()}, expected 0..{len(kind.classes) - 1}")
    return Split(images, fine, np.array(kind.classes.superclass_of or [0] * len(kind.classes))[fine])


def _concatenate(parts: list[Split]) -> Split:
    return Split(
        *(np.concatenate(arrays) for arrays in zip(*((p.images, p.fine, p.coarse) for p in parts), strict=True))
    )


def _split_of(path: PurePosixPath) -> str:
    """Find the split a file belongs to: in its name (`train-00000-of-00001.parquet`) or in a folder's."""
    for part in (path.name, *(parent.name for parent in path.parents)):
        for split in SPLITS:
            if part == split or part.startswith((f"{split}-", f"{split}.")):
                return split
    raise UserError(f"{path} belongs to no split: it should be called, or lie in a folder called, train or test")


# --- PNG folders -----------------------------------------------------------------------------------------------------


def _place(kind: Kind, path: PurePosixPath) -> tuple[str, int, PurePosixPath]:
    """Return split, class and the split's folder of `<split>/<class>/x.png` or `<split>/<superclass>/<class>/x.png`."""
    above = ("", "", "", *path.parts[:-1])
    name, superclass = above[-1], None
    split = above[-2]
    if split not in SPLITS:
        superclass, split = above[-2], above[-3]
    if split not in SPLITS:
        raise UserError(f"{path} should lie at <split>/<class>/ or <split>/<superclass>/<class>/, split train or test")
    names = kind.classes.names
    if name not in names:
        raise UserError(f"{path}: {name!r} is not one of the {len(names)} classes of {kind.name}: remove the folder")
    label = names.index(name)
    if superclass is not None and kind.classes.superclass(label) != superclass:
        raise UserError(f"{path}: class {name!r} does not belong to a superclass {superclass!r}")
    return split, label, path.parents[1 if superclass is None else 2]


def _decode(path: PurePosixPath | str, content: bytes) -> np.ndarray:
    """Decode a PNG to uint8 (3, 32, 32); its size is checked before any pixel is."""
    try:
        if len(content) > LARGEST_PNG_BYTES:
            raise UserError(f"{path} has {len(content)} bytes, too many for a 32x32 image")
        image = Image.open(io.BytesIO(content), formats=("PNG",))
        if (image.size, image.mode) != ((32, 32), "RGB"):
            raise UserError(f"{path} is a {image.width}x{image.height} image of mode {image.mode}, expected 32x32 RGB")
        return np.asarray(image).transpose(2, 0, 1)
    except UserError:
        raise
    except Exception as error:  # a hostile image can make the decoder raise anything
        raise UserError(f"{path} is not a readable PNG image ({error})") from error


def _from_pngs(kind: Kind, where: str, images: list[tuple[int, str, np.ndarray]]) -> Split:
    images.sort(key=lambda image: image[:2])
    return _labelled(
        kind, where, np.stack([pixels for _, _, pixels in images]), np.array([label for label, _, _ in images])
    )


# --- Official pickles ------------------------------------------------------------------------------------------------


def _from_pickle(kind: Kind, name: str, file: IO[bytes]) -> Split:
    images, batch = read_pickle(name, file, IMAGE_SHAPE)
    labels = batch.get(kind.labels)
    if (
        not isinstance(labels, list)
        or len(labels) != len(images)
        or not all(isinstance(label, int) and abs(label) < 1 << 31 for label in labels)
    ):
        raise UserError(f"{name}: {kind.labels} should be a list of {len(images)} class numbers")
    fine = np.array(labels, dtype=np.int64)
    split = _labelled(kind, name, images, fine)
    coarse = batch.get(kind.superclasses) if kind.superclasses else None
    if coarse is not None and not np.array_equal(coarse, split.coarse):
        raise UserError(f"{name}: {kind.superclasses} are not the superclasses of {kind.labels}")
    return split


# --- Parquet ---------------------------------------------------------------------------------------------------------


def _from_parquet(kind: Kind, name: str, content: bytes) -> Split:
    """Read the columns `img` (struct with the PNG's bytes) and of the labels; names in the file are not trusted."""
    try:
        file = parquet.ParquetFile(io.BytesIO(content), read_dictionary=["img.bytes"])  # equal images stay one
        if file.metadata.num_rows > MOST_ROWS:
            raise ValueError(f"it has more than {MOST_ROWS} rows")
        images, labels, row = [np.zeros((0, *IMAGE_SHAPE), np.uint8)], [np.zeros(0)], 0
        for batch in file.iter_batches(PARQUET_ROWS, columns=["img", kind.column]):
            of_batch = batch.column("img").field("bytes")
            if of_batch.null_count:
                raise ValueError("a row has no image")
            pngs = of_batch.dictionary.to_pylist()
            if max(map(len, pngs), default=0) > LARGEST_PNG_BYTES:
                raise ValueError("an image is too large")
            used, first, place = np.unique(of_batch.indices.to_numpy(), return_index=True, return_inverse=True)
            distinct = [_decode(f"{name}, row {row + at}", pngs[i]) for i, at in zip(used, first, strict=True)]
            images.append(np.stack(distinct)[place])
            labels.append(batch.column(kind.column).to_numpy(zero_copy_only=False))
            row += len(place)
        fine = np.concatenate(labels).astype(np.int64)
    except UserError:
        raise
    except Exception as error:  # pyarrow raises its own zoo, and a row may lack its image
        raise UserError(f"{name} is not a parquet file with the columns img and {kind.column} ({error})") from error
    return _labelled(kind, name, np.concatenate(images), fine)
