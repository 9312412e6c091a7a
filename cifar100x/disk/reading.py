"""Reading what others may have written."""

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml

from cifar100x.disk.checking import refuse_link
from cifar100x.errors import UserError

MOST_NODES = 100_000
MOST_BYTES = 64 << 20
"""Of a file that a program of ours may have written; some kinds may have more."""
DAMAGED = (
    ValueError, KeyError, TypeError, AttributeError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error,
    yaml.YAMLError, RecursionError, csv.Error,
)  # fmt: skip
"""What reading a file may raise that holds something else than it should."""


def refuse_strange(path: Path, most: int = MOST_BYTES) -> None:
    """Raise UserError if what lies there is no file of ours: a link, a pipe or a device, or too large."""
    refuse_link(path)
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no file, expected one: put it in its place")
    if path.exists() and (found := path.stat().st_size) > most:
        raise UserError(f"{path} has {found:,} bytes, expected at most {most:,}: no run wrote it")


def read_json(path: Path) -> Any:
    """What a file of JSON holds.

    Raises:
        UserError: it is none that a program of ours may have written.
        FileNotFoundError: it is absent.
        ValueError: it is damaged.
        RecursionError: the same.
    """
    refuse_strange(path)
    return json.loads(path.read_bytes())


@contextmanager
def open_npz(file: Path | IO[bytes], most: int) -> Iterator[Mapping[str, np.ndarray]]:
    """The arrays of an npz file, each read when it is asked for.

    Raises:
        ValueError: they unpack to more bytes than `most`.
    """
    with np.load(file, allow_pickle=False) as arrays:
        if (unpacked := sum(member.file_size for member in arrays.zip.infolist())) > most:
            raise ValueError(f"it unpacks to {unpacked:,} bytes, expected at most {most:,}")
        yield arrays


def load_yaml(file: IO[bytes]) -> Any:
    """Plain values from YAML; a few hundred bytes of aliases, each of which repeats others, may stand for any number.

    Raises:
        yaml.YAMLError: it is none, or holds too much.
    """
    loader = yaml.SafeLoader(file)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _num_nodes(node, {}) > MOST_NODES:
            raise yaml.YAMLError(f"more than {MOST_NODES:,} values")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _num_nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, aliases written out."""
    if id(node) not in known:
        known[id(node)] = MOST_NODES  # of one that holds itself
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in pairs for part in pair]
        known[id(node)] = 1 + sum(_num_nodes(part, known) for part in parts)
    return known[id(node)]


def rows_of(file: IO[bytes]) -> list[dict[str, float]]:
    """The rows of a history, numbers by the names of their columns."""
    rows = list(csv.DictReader(io.TextIOWrapper(file, "utf-8", newline="")))
    return [{key: int(value) if key == "epoch" else float(value) for key, value in row.items()} for row in rows]


def mapping_of(parse: Callable[[IO[bytes]], Any]) -> Callable[[IO[bytes]], dict[str, Any]]:
    """A parser, made to raise ValueError for a file that does not hold names and values."""

    def parsed(file: IO[bytes]) -> dict[str, Any]:
        found = parse(file)
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
            raise ValueError("it holds no names and values")
        return found

    return parsed
