"""Pickles of arrays: those that numpy and Python 2 write are read, those that are made by hand do no harm."""

import io
import pickle
import struct

import numpy as np
import pytest

from cifar100x.disk.pickles import read_pickle
from cifar100x.errors import UserError

SHAPE = (3, 2, 2)
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 12), dtype=np.uint8)


def read(content: bytes) -> np.ndarray:
    return read_pickle("train", io.BytesIO(content), SHAPE)[0]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("images", [IMAGES, np.asfortranarray(IMAGES)], ids=["rows", "columns"])
def test_what_numpy_writes(images, protocol):
    for name in ("data", b"data"):
        found = read(pickle.dumps({name: images, "other": np.arange(3, dtype=">i8")}, protocol))
        np.testing.assert_array_equal(found, IMAGES.reshape(-1, *SHAPE))


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


TYPE = b"cnumpy\ndtype\nU\x02%sK\x00K\x01\x87R(K\x03U\x01|NNN" + number(-1) + number(-1) + b"K\x00tb"
"""What Python 2 wrote of an array's type, its flags last."""


def of_python_2(kind: bytes, shape: tuple[int, int], content: bytes) -> bytes:
    """A pickle as Python 2 wrote it: the bytes of an array are a string."""
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
    of_shape = number(shape[0]) + number(shape[1]) + b"\x86"
    state = array + of_shape + TYPE % kind + b"\x89T" + struct.pack("<i", len(content)) + content + b"tb"
    return b"\x80\x02}U\x04data" + state + b"s."


def test_what_python_2_wrote():
    np.testing.assert_array_equal(read(of_python_2(b"u1", (5, 12), IMAGES.tobytes())).reshape(5, 12), IMAGES)


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
SIZE = number(2_000_000) + b"K\x0c\x86"
OF_ONE_BYTE = b"(cnumpy\nndarray\n" + SIZE + b"U\x02u1U\x01aK\x00K\x00K\x00\x86tR"
HOSTILE = {
    "pointers taken from bytes": (of_python_2(b"O8", (1, 1), b"A" * 8), "it holds an array of O8"),
    "fewer bytes than it says": (of_python_2(b"u1", (2_000_000, 12), b"A" * 12), "cannot reshape array of size 12"),
    "no bytes at all": (b"\x80\x02}U\x04data" + ARRAY + SIZE + b"U\x02u1\x87Rs.", "data is NoneType"),
    "one byte that stands for all": (b"\x80\x02}U\x04data" + OF_ONE_BYTE + b"s.", "not a pickle of arrays"),
    "text in a strange encoding": (
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00punyc\x86R.",
        "it holds text in punyc",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_made_by_hand(case):
    content, message = HOSTILE[case]
    with pytest.raises(UserError, match=message):
        read(content)
