"""Labelled images of any size in folders of the user's own, made 32x32."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
from rich.console import Console
from rich.progress import track

from cifar100x.data.building import Part, build
from cifar100x.data.classes import Classes
from cifar100x.data.resize import LARGEST_IMAGE_BYTES, decode
from cifar100x.data.store import ImageStore, cache_folder, found_store, store_path
from cifar100x.disk.archives import File, iterate_files, refuse_web_page, signature
from cifar100x.disk.reading import MOST_BYTES
from cifar100x.errors import UserError

KIND = "images"
SPLITS = ("train", "test")
IMAGE = re.compile(r"\.(png|jpe?g|webp|bmp|gif|tiff?|ppm)$", re.IGNORECASE)
SUPERCLASSES_FILE = "superclasses.csv"
MOST_CLASSES = 1 << 16
PART_IMAGES = 4096


def open_store(*, cache: str | None, source: str | None) -> ImageStore:
    """Open the image store of labelled images, building it from `source` on first use.

    Args:
        cache: as for `cache_folder`.
        source: a folder, tar or zip of `<split>/<class>/...` or `<class>/...`, with the split train or test; with two
            levels, the first is the superclass; or `superclasses.csv` with lines class,superclass lies beside them. Or
            an image store, by its path or its name in the cache.

    Raises:
        UserError: no such layout there, or an image that cannot be read; the message says where.
    """
    if source is None:
        raise UserError("data.source is not given, expected a folder, tar or zip of <class>/*.png: data.source=/path")
    folder, place = cache_folder(cache), Path(source).expanduser()
    if store := found_store(folder, place):
        return store
    identity = signature(place) | {"upright": "as the camera says"}  # earlier stores had photos as they lie
    path = store_path(folder, KIND, identity)
    if not path.exists():
        layout = read_layout(place)
        build(path, KIND, identity, lambda num_done: islice(parts(place, layout), num_done, None), layout.classes)
    return ImageStore(path)


@dataclass(frozen=True)
class Layout:
    """Where images lie in a source.

    Attributes:
        place_of: split and label of each file, by its name.
        classes: what the labels mean.
    """

    place_of: dict[str, tuple[str, int]]
    classes: Classes


def read_layout(source: Path) -> Layout:
    """Find the splits, classes and superclasses of a source from the names of its files.

    Raises:
        UserError: its files do not lie as expected.
    """
    if source.is_file():
        refuse_web_page(source)
    names, said = [], {}
    for file in iterate_files(source):
        if IMAGE.search(file.name):
            names.append(file.name)
        elif PurePosixPath(file.name).name == SUPERCLASSES_FILE:
            said = _read_superclasses(file)
    if not names:
        raise UserError(f"{source} holds no images, expected <class>/*.png or <split>/<class>/*.png (or .jpg, ...)")
    folders = {name: PurePosixPath(name).parts[:-1] for name in names}
    splits, below = _split(source, folders)
    depths = Counter(len(parts) for parts in below.values())
    if set(depths) - {1, 2} or len(depths) > 1:
        odd = min(depths, key=lambda depth: (depth in (1, 2), depths[depth]))
        example = next(name for name in names if len(below[name]) == odd)
        raise UserError(
            f"{source}: {example} lies {odd} folders deep, expected every image at <class>/ or every one at "
            "<superclass>/<class>/, below train/ and test/ if there are any"
        )
    return _layout(source, splits, below, said)


def _split(source: Path, folders: dict[str, tuple[str, ...]]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """The split of each file, train where there are none, and the folders below it."""
    starts = _starts(folders)
    outside = [name for name, start in starts.items() if start is None]
    if len(outside) == len(folders):
        common = 0
        while len({parts[: common + 1] for parts in folders.values()}) == 1 and all(
            len(parts) > common + 1 for parts in folders.values()
        ):
            common += 1
        return dict.fromkeys(folders, "train"), {name: parts[common:] for name, parts in folders.items()}
    if outside:
        raise UserError(f"{source}: {outside[0]} lies in neither train/ nor test/, as other images do: move it there")
    places = sorted({"/".join(folders[name][: start + 1]) for name, start in starts.items() if start is not None})
    for split in SPLITS:
        if len(its := [place for place in places if place.rpartition("/")[2] == split]) > 1:
            raise UserError(f"{source} holds images of {split} in {its[0]} and in {its[1]}: name one of them")
    return (
        {name: folders[name][start] for name, start in starts.items() if start is not None},
        {name: folders[name][start + 1 :] for name, start in starts.items() if start is not None},
    )


def _starts(folders: dict[str, tuple[str, ...]]) -> dict[str, int | None]:
    """Which of the folders of each file is its split's; None if it has none.

    The source's own name is one only if there are none below it, and a class may be called train.
    """
    last = {parts[-1] for parts in folders.values() if parts}
    a_class = bool(last - set(SPLITS)) and not set(SPLITS) <= last
    for above in (1, 0):
        found = {
            name: next((i for i in range(above, len(parts) - a_class) if parts[i] in SPLITS), None)
            for name, parts in folders.items()
        }
        if None not in found.values():
            break
    return found


def _layout(source: Path, splits: dict[str, str], below: dict[str, tuple[str, ...]], said: dict[str, str]) -> Layout:
    above: dict[str, str] = {}
    for parts in below.values():
        if len(parts) == 2 and above.setdefault(parts[1], parts[0]) != parts[0]:
            raise UserError(f"{source}: class {parts[1]} lies in {above[parts[1]]}/ and in {parts[0]}/: rename one")
    names = sorted({parts[-1] for parts in below.values()})
    if not 2 <= len(names) <= MOST_CLASSES:
        raise UserError(
            f"{source} holds {len(names)} classes ({names[0]}), expected 2..{MOST_CLASSES}: one folder each"
        )
    above = above or said
    if above and (lacking := [name for name in names if name not in above]):
        raise UserError(f"{source}: {SUPERCLASSES_FILE} says nothing of class {lacking[0]}: add a line for each class")
    superclasses = sorted({above[name] for name in names}) if above else []
    superclass_of = [superclasses.index(above[name]) for name in names] if above else []
    label_of = {name: label for label, name in enumerate(names)}
    in_train = {parts[-1] for name, parts in below.items() if splits[name] == "train"}
    if absent := [name for name in names if name not in in_train]:
        raise UserError(f"{source}: class {absent[0]} has no image in train/, only in test/: add some or remove it")
    return Layout(
        {name: (splits[name], label_of[parts[-1]]) for name, parts in below.items()},
        Classes(tuple(names), tuple(superclasses), tuple(superclass_of)),
    )


def _read_superclasses(file: File) -> dict[str, str]:
    try:
        rows = list(csv.reader(file.read(MOST_BYTES).decode("utf-8-sig", errors="replace").splitlines()))
    except csv.Error as error:
        raise UserError(f"{file.name} is no table of comma-separated values ({error})") from error
    if any(len(row) != 2 for row in rows if row):
        raise UserError(f"{file.name}: expected two columns, class and superclass, in every line")
    return {name.strip(): superclass.strip() for name, superclass in filter(None, rows)}


def parts(source: Path, layout: Layout) -> Iterator[Part]:
    """Yield the images of the splits one after the other, in the order of the source.

    Raises:
        UserError: an image cannot be read.
    """
    superclass_of = np.array(layout.classes.superclass_of or [0] * len(layout.classes), np.uint16)
    console = Console(markup=False)
    for split in SPLITS:
        chosen = [name for name, (its_split, _) in layout.place_of.items() if its_split == split]
        wanted = (file for file in iterate_files(source) if layout.place_of.get(file.name, ("",))[0] == split)
        shown = {"console": console, "transient": True, "disable": not console.is_terminal}
        files = track(wanted, f"reading {split}", total=len(chosen), **shown)  # type: ignore[arg-type]
        while images := [(file.name, decoded(file)) for file in islice(files, PART_IMAGES)]:
            labels = np.array([layout.place_of[name][1] for name, _ in images], np.uint16)
            pixels = np.stack([image for _, image in images])
            yield Part(split, {"images": pixels, "fine": labels, "coarse": superclass_of[labels]})


def decoded(file: File) -> np.ndarray:
    """An image of any size and mode as uint8 (3, 32, 32), upright."""
    return decode(file.name, io.BytesIO(file.read(LARGEST_IMAGE_BYTES)), upright=True)
