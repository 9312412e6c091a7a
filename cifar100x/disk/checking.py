"""Whether a file is what it was."""

import hashlib
import zipfile
from pathlib import Path

from cifar100x.errors import UserError


def sha256_of(path: Path) -> str:
    """SHA-256 of the contents of a file, hexadecimal."""
    return digest_of(path, "sha256")


def digest_of(path: Path, algorithm: str) -> str:
    """A digest of the contents of a file by one of hashlib's algorithms, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def refuse_link(path: Path) -> None:
    """Raise UserError if a path is a link: what it leads to is none of the files that lie here."""
    if path.is_symlink():
        raise UserError(f"{path} is a link, expected a file or folder of the run itself: put that in its place")


def is_whole_zip(path: Path) -> bool:
    """Whether a file, if it is there, is a zip as torch writes them, whose every member has its checksum."""
    if not path.exists():
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return is_stored(archive) and archive.testzip() is None
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError):
        return False


def is_stored(archive: zipfile.ZipFile) -> bool:
    """Whether nothing in a zip is compressed, as in torch's; what is may unpack to any size."""
    return all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
