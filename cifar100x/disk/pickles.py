"""Pickles of images as CIFAR and downsampled ImageNet are handed out, read without running any code in them."""

import math
import pickle
from typing import IO, Any

import numpy as np

from cifar100x.disk.archives import UNREADABLE
from cifar100x.errors import UserError


class _ArrayUnpickler(pickle.Unpickler):
    """Reads containers, numbers, strings and numpy arrays; everything else in a pickle is refused before it runs."""

    ALLOWED = frozenset(
        {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
        | {(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")}
        | {(f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")}
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it calls {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


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
    batch = {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in batch.items()}
    return as_images(name, batch.get("data"), shape), batch


def as_images(name: str, data: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Check that `data` is uint8, a flat image in each row, and return it as (N, *shape)."""
    num_bytes = math.prod(shape)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != num_bytes:
        found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise UserError(f"{name}: data is {found}, expected uint8 (N, {num_bytes})")
    return data.reshape(-1, *shape)
