"""One file from the first mirror that has it: resumed, checked, never half there."""

import time
from collections.abc import Sequence
from pathlib import Path

import requests
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cifar100x.disk.archives import refuse_web_page
from cifar100x.disk.checking import digest_of
from cifar100x.disk.locking import locked
from cifar100x.disk.writing import cannot_write, put_in_place
from cifar100x.errors import UserError

CONNECT_AND_READ_SECONDS = (10, 60)
FRUITLESS_ATTEMPTS = 3  # of one mirror, one after the other; getting further than ever starts the count again
SECONDS_BETWEEN_ATTEMPTS = 2
LARGEST_BYTES = 8 << 30
LONGEST_SECONDS = 6 * 3600.0  # of one attempt: a mirror that drips never times out
CHUNK_BYTES = 1 << 18


def download(mirrors: Sequence[str], folder: Path, md5: str) -> Path:
    """Return the path of the file that the mirrors offer, downloading it unless it is there already.

    A partial file is continued where it stopped, by this process or a later one. Two processes may ask at the same
    time: one downloads, the other waits.

    Raises:
        UserError: no mirror gave a file with this checksum; the message has one reason a mirror.
    """
    if not mirrors:
        raise UserError("data.mirrors is empty: name an address, or a file you have with data.source=/path")
    target = folder / mirrors[0].rsplit("/", 1)[-1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(target.with_name(f"{target.name}.lock")):
            return target if target.exists() and digest_of(target, "md5") == md5 else _first_of(mirrors, target, md5)
    except OSError as error:
        raise UserError(f"{cannot_write(target, error)}, with cache=/path") from error


def _first_of(mirrors: Sequence[str], target: Path, md5: str) -> Path:
    partial = target.with_name(f"{target.name}.partial")
    reasons = []
    for mirror in mirrors:
        fruitless, most = 0, _size(partial)
        while fruitless < FRUITLESS_ATTEMPTS:
            time.sleep(fruitless * SECONDS_BETWEEN_ATTEMPTS)
            resumed = partial.exists()
            try:
                _continue(mirror, partial)
                _verify(partial, md5)
            except requests.RequestException as error:
                unreachable = isinstance(error, requests.ConnectionError) and not _size(partial)
                reason = f"{mirror}: {'cannot be reached' if unreachable else error}"
                fruitless = 0 if _size(partial) > most else fruitless + 1
                most = max(most, _size(partial))
            except UserError as error:
                reason = f"{mirror}: {error}"
                fruitless += 1
                if not resumed:
                    break  # the mirror's file is wrong; had only the part that was there been wrong, we would try again
            else:
                put_in_place(partial, target)
                return target
        reasons.append(reason)
    raise UserError(
        f"could not download {target.name} ({'; '.join(reasons)}): "
        "name a copy with data.source=/path or another address with data.mirrors=[...]"
    )


def _continue(address: str, partial: Path) -> None:
    """Append to the partial file what it lacks."""
    have = _size(partial)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(address, headers=headers, stream=True, timeout=CONNECT_AND_READ_SECONDS) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # the partial file is as long as the whole one; the checksum decides
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        expected = int(response.headers.get("Content-Length", 0)) + (have if resumed else 0)
        until = time.monotonic() + LONGEST_SECONDS
        with partial.open("ab" if resumed else "wb") as file, _progress() as progress:
            task = progress.add_task(partial.stem, total=expected or None, completed=file.tell())
            for chunk in response.iter_content(CHUNK_BYTES):
                if file.tell() > LARGEST_BYTES:
                    raise UserError(f"it sends more than {LARGEST_BYTES >> 30} GiB")
                if time.monotonic() > until:
                    raise requests.Timeout(f"it sent {file.tell()} bytes in {LONGEST_SECONDS / 3600:g} hours")
                file.write(chunk)
                progress.advance(task, len(chunk))
    if (size := _size(partial)) < expected:
        raise requests.ConnectionError(f"the connection closed after {size} of {expected} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _verify(partial: Path, md5: str) -> None:
    if (found := digest_of(partial, "md5")) == md5:
        return
    try:
        refuse_web_page(partial)
        raise UserError(f"the file's md5 is {found}, expected {md5}")
    finally:
        partial.unlink()


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    )
