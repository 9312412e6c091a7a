"""Pickles of images as CIFAR and downsampled ImageNet are handed out, read without running any code in them."""

import math
import pickle
from typing import IO, Any

import numpy as np

from cifar100x.disk.archives import UNREADABLE
from cifar100x.errors import UserError


class _Type:
    """Stands for `numpy.dtype`, of which a state in a pickle may have any flags: numbers alone, of some byte order."""

    def __init__(self, code: str, *_: object):
        self.dtype = np.dtype(code)
        if self.dtype.kind not in NUMBERS:
            raise pickle.UnpicklingError(f"it holds an array of {code}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for `numpy.ndarray`, which could be made of no bytes, or of pointers: an array of the bytes there are."""

    found: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, of, in_columns, content = state
        content = content.encode("latin1") if isinstance(content, str) else content  # bytes as Python 2 had them
        self.found = np.frombuffer(content, of.dtype).reshape(shape, order="F" if in_columns else "C")


def _reconstruct(*_: object) -> _Array:
    """Stands for numpy's function: an array without its state, which follows."""
    return _Array()


def _frombuffer(content: Any, of: _Type, shape: tuple[int, ...], order: str) -> _Array:
    """Stands for numpy's function of protocol 5."""
    array = _Array()
    array.__setstate__((None, shape, of, order == "F", content))
    return array


def _encode(text: str, encoding: str) -> bytes:
    """Stands for `_codecs.encode`: bytes as protocol 2 has them."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it holds text in {encoding[:40]}")
    return text.encode(encoding)


NUMBERS = "biuf"
STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
} | {
    (f"numpy.{core}.{module}", stand_in.__name__): stand_in
    for core in ("core", "_core")
    for module, stand_in in (("multiarray", _reconstruct), ("numeric", _frombuffer))
}
"""What stands for what a pickle of arrays calls."""


class _ArrayUnpickler(pickle.Unpickler):
    """Reads containers, numbers, strings and numpy arrays; everything else in a pickle is refused before it runs.

    None of what a pickle calls is numpy's own, which trusts what it is told.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise pickle.UnpicklingError(f"it calls {module}.{name}")
        return STAND_INS[module, name]


def read_pickle(name: str, file: IO[bytes], shape: tuple[int, ...]) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a pickled dictionary with images under `data`.

    Returns:
        The images, uint8 (N, *shape), and the dictionary.

    Raises:
        UserError: it is no such pickle, or it would call something.
    """
    try:
        batch = _ArrayUnpickler(file, encoding="latin1").load()
    except UNREADABLE:
        raise  # for `File.open`, which names the archive
    except Exception as error:  # a hostile pickle can make the unpickler raise anything
        raise UserError(f"{name} is not a pickle of arrays: {error or type(error).__name__}") from error
    if not isinstance(batch, dict):
        raise UserError(f"{name} holds a {type(batch).__name__}, expected a dictionary with data and labels")
    named = {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in batch.items()}
    batch = {name: value.found if isinstance(value, _Array) else value for name, value in named.items()}
    return as_images(name, batch.get("data"), shape), batch


def as_images(name: str, data: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Check that `data` is uint8, a flat image in each row, and return it as (N, *shape)."""
    num_bytes = math.prod(shape)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != num_bytes:
        found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise UserError(f"{name}: data is {found}, expected uint8 (N, {num_bytes})")
    return data.reshape(-1, *shape)
