"""The files of a folder, a tar or a zip, one after the other, without unpacking anything to disk."""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cifar100x.errors import UserError

File = tuple[str, Callable[[], bytes]]
"""A file's name ('/'-separated, relative to its source) and a function that reads it whole."""

LARGEST_FILE_BYTES = 1 << 30  # no file of these data sets is larger; a hostile archive may say otherwise
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError)


def iterate_files(source: Path) -> Iterator[File]:
    """Yield every regular file of a folder, an archive (tar, compressed or not, or zip), or the file itself.

    Names begin with the folder's own name, so that `train/apple/1.png` is the same file whether the user
    pointed at `train` or at its parent. Nothing is written to disk: links, devices and members with hostile names are
    never followed or created. A reader is valid only until the next file is asked for.

    Raises:
        UserError: the source does not exist, or is an archive that ends early or is damaged.
    """
    if not source.exists():
        raise UserError(f"{source} does not exist: data.source must name an archive, a folder or a parquet file")
    if source.is_dir():
        yield from _folder(source.resolve())
        return
    with _naming_damage(source):
        if zipfile.is_zipfile(source):
            files = _zip(source)
        elif _is_tar(source):
            files = _tar(source)
        else:
            files = iter([(source.name, source.read_bytes)])
        for name, read in files:
            yield name, partial(_read, source, read)


def _read(source: Path, read: Callable[[], bytes]) -> bytes:
    with _naming_damage(source):
        return read()


@contextmanager
def _naming_damage(source: Path) -> Iterator[None]:
    """Turn the many exceptions of a damaged archive into one line that names it."""
    try:
        yield
    except DAMAGED as error:
        raise UserError(f"{source} ends early or is damaged ({error}): fetch it again") from error


def refuse_web_page(path: Path) -> None:
    """Raise UserError if the file is a web page, as servers send for a link that has expired or wants a login."""
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        raise UserError(f"{path} is a web page, not an archive: fetch it again from another address")


def signature(source: Path) -> dict[str, str | int]:
    """Identify a source cheaply, without reading it: it changes when the source is replaced or its folders are edited.

    A file is known by size and modification time, a folder by the modification times of all folders below it.
    """
    source = source.expanduser().resolve()
    if not source.exists():
        raise UserError(f"{source} does not exist: data.source must name an archive, a folder or a parquet file")
    if source.is_file():
        status = source.stat()
        return {"path": str(source), "bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    times = [Path(folder).stat().st_mtime_ns for folder, _, _ in os.walk(source)]
    return {"path": str(source), "folders": len(times), "modified_ns": max(times)}


def _folder(folder: Path) -> Iterator[File]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(folder.parent).as_posix(), path.read_bytes


def _zip(source: Path) -> Iterator[File]:
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                _refuse_huge(member.filename, member.file_size)
                yield member.filename, lambda member=member: archive.read(member)  # type: ignore[misc]


def _is_tar(source: Path) -> bool:
    """Whether the file is a tar, plain or compressed; a damaged gzip counts as one, so that the damage is reported."""
    with source.open("rb") as file:
        if file.read(2) == b"\x1f\x8b":
            return True
    return tarfile.is_tarfile(source)


def _tar(source: Path) -> Iterator[File]:
    with tarfile.open(source, "r|*") as archive:
        for member in archive:
            if member.isreg():
                _refuse_huge(member.name, member.size)
                yield member.name, lambda member=member: archive.extractfile(member).read()  # type: ignore[misc, union-attr]


def _refuse_huge(name: str, num_bytes: int) -> None:
    if num_bytes > LARGEST_FILE_BYTES:
        raise UserError(f"{name} unpacks to {num_bytes} bytes, expected at most {LARGEST_FILE_BYTES}")
