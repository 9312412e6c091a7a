"""The files of a folder, a tar or a zip, one after the other, without unpacking anything to disk."""

import bz2
import gzip
import hashlib
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from cifar100x.errors import FULL, UserError

LARGEST_FILE_BYTES = 1 << 30  # no file of these data sets is larger; a hostile archive may say otherwise
LARGEST_HEADER_BYTES = 1 << 20
MOST_MIB_BEHIND = 64  # that a tar may be padded with
HEADERS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
"""Types of members that are no files and say something of the next one."""
OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""How to open a compressed tar, by its first bytes."""
ZIP = b"PK\x03\x04"
UNREADABLE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)


@dataclass(frozen=True)
class File:
    """One file of a source; readable only until the next one is asked for.

    Args:
        source: where it lies.
        name: '/'-separated, relative to the source.
        num_bytes: its size.
        end: how many bytes of the source lie before its end, as they are on the disk.
        opener: opens it for reading.
    """

    source: Path
    name: str
    num_bytes: int
    end: int
    opener: Callable[[], IO[bytes]]

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open it for reading; errors of reading name the source."""
        with _naming_damage(self.source), self.opener() as file:
            yield file

    def read(self, most: int = LARGEST_FILE_BYTES) -> bytes:
        """Read it whole; UserError if it has more bytes."""
        if self.num_bytes > most:
            raise UserError(f"{self.name} has {self.num_bytes:,} bytes, expected at most {most:,}")
        with self.open() as file:
            return file.read()


def iterate_files(source: Path) -> Iterator[File]:
    """Yield every regular file of a folder, an archive (tar, compressed or not, or zip), or the file itself.

    Names begin with the folder's own name, so that `train/apple/1.png` is the same file whether the user
    pointed at `train` or at its parent. Nothing is written to disk: an archive's links, devices and members with
    hostile names are never followed or created.

    Raises:
        UserError: the source does not exist, or is an archive that ends early or is damaged.
    """
    _require(source)
    with _naming_damage(source):
        if source.is_dir():
            files = _folder(source.resolve())
        elif _starts_with(source, ZIP) and source.suffix != ".npz":
            files = _zip(source)
        elif opener := next((OPENERS[magic] for magic in OPENERS if _starts_with(source, magic)), None):
            files = _tar(source, opener)
        elif tarfile.is_tarfile(source):
            files = _tar(source, lambda raw: raw)
        else:
            num_bytes = source.stat().st_size
            files = iter([File(source, source.name, num_bytes, num_bytes, partial(_open, source))])
        for file in files:
            if "__MACOSX/" not in file.name and not file.name.rpartition("/")[2].startswith("._"):  # macOS adds them
                yield file


def _require(source: Path) -> None:
    if not source.exists():
        raise UserError(f"{source} does not exist: data.source must name an archive, a folder or a parquet file")


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def _starts_with(source: Path, magic: bytes) -> bool:
    with source.open("rb") as file:
        return file.read(len(magic)) == magic


@contextmanager
def _naming_damage(source: Path) -> Iterator[None]:
    """Turn the many exceptions of a damaged archive into one line that names it."""
    try:
        yield
    except (*UNREADABLE, ValueError) as error:
        full = isinstance(error, OSError) and error.errno in FULL  # what is read is written somewhere
        if full or isinstance(error, UserError):
            raise
        raise UserError(f"{source} cannot be read, ends early or is damaged ({error}): fetch it again") from error


def refuse_web_page(path: Path) -> None:
    """Raise UserError if the file is a web page, as servers send for a link that has expired or wants a login."""
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        raise UserError(f"{path} is a web page, not an archive: fetch it again from another address")


def num_bytes(source: Path) -> int:
    """Size of a source on the disk: `File.end` of its last file comes near it."""
    return sum(path.stat().st_size for path in ([source] if source.is_file() else _files_below(source)))


def signature(source: Path) -> dict[str, str]:
    """Identify a source without reading it: names, sizes and modification times of its files.

    Raises:
        UserError: the source does not exist, or has a link that leads nowhere or in a circle.
    """
    source = source.resolve()
    _require(source)
    digest = hashlib.sha256()
    for path in [source] if source.is_file() else _files_below(source):
        status = path.stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return {"path": str(source), "files": digest.hexdigest()}


def _files_below(folder: Path) -> list[Path]:
    """The regular files of a folder and of all folders in it, by name; links are followed.

    Raises:
        UserError: one leads nowhere, or back to where it was found.
    """
    found = []
    for place, folders, names in os.walk(folder, followlinks=True):
        for path in (Path(place, name) for name in (*folders, *names)):
            if not path.exists():
                raise UserError(f"{path} is a link that leads nowhere: mend or remove it")
            if path.is_symlink() and Path(place).resolve().is_relative_to(path.resolve()):
                raise UserError(f"{path} is a link to a folder that it lies in: remove it")
        found += [path for name in names if (path := Path(place, name)).is_file()]
    return sorted(found)


def _folder(folder: Path) -> Iterator[File]:
    end = 0
    for path in _files_below(folder):
        num_bytes = path.stat().st_size
        end += num_bytes
        yield File(folder, path.relative_to(folder.parent).as_posix(), num_bytes, end, partial(_open, path))


def _zip(source: Path) -> Iterator[File]:
    end = 0
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                refuse_huge(member.filename, member.file_size)
                end += member.compress_size
                yield File(source, member.filename, member.file_size, end, partial(archive.open, member))


class _BoundedHeader(tarfile.TarInfo):
    """A member whose own header, which may hold a long name, is not read if it is absurdly large."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in HEADERS and self.size > LARGEST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes, expected at most {LARGEST_HEADER_BYTES}")
        return super()._proc_member(archive)  # type: ignore[misc]


def _tar(source: Path, decompress: Callable[..., Any]) -> Iterator[File]:
    with (
        source.open("rb") as raw,
        decompress(raw) as stream,
        tarfile.open(fileobj=stream, mode="r|", tarinfo=_BoundedHeader) as archive,
    ):
        for member in archive:
            if member.isreg():
                refuse_huge(member.name, member.size)
                yield File(source, member.name, member.size, raw.tell(), partial(archive.extractfile, member))  # type: ignore[arg-type]
        for _ in range(MOST_MIB_BEHIND):  # a compressed stream checks its sum at the very end
            if not stream.read(1 << 20):
                return
        raise tarfile.ReadError(f"more than {MOST_MIB_BEHIND} MiB follow its end")


def refuse_huge(name: str, num_bytes: int) -> None:
    """Raise UserError for a file that unpacks to more than any of these data sets holds."""
    if num_bytes > LARGEST_FILE_BYTES:
        raise UserError(f"{name} unpacks to {num_bytes:,} bytes, expected at most {LARGEST_FILE_BYTES:,}")
