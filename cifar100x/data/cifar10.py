"""CIFAR-10, 10 classes."""

import re

from cifar100x.data import cifar
from cifar100x.data.classes import Classes
from cifar100x.data.store import ImageStore

CIFAR10 = Classes(
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
)  # https://www.cs.toronto.edu/~kriz/cifar.html
KIND = cifar.Kind(
    name="CIFAR-10",
    classes=CIFAR10,
    folder="cifar-10-batches-py",
    batch=re.compile(r"(data|test)_batch(_[1-5])?"),
    splits={"data": "train", "test": "test"},
    labels="labels",
    superclasses=None,
    column="label",
)


def open_store(*, cache: str | None, source: str | None, mirrors: list[str], md5: str) -> ImageStore:
    """Open the image store of CIFAR-10, building it from `source` on first use.

    Args:
        cache: of stores and downloads, as for `cache_folder`.
        source: the official `cifar-10-python.tar.gz`, its unpacked folder, PNG folders `<split>/<class>/*.png`, parquet
            files with the columns `img` and `label`, or any of these in a tar or zip; or an image store, by its path or
            its name in the cache. None downloads the official archive.
        mirrors: addresses of the official archive, tried in order.
        md5: checksum that a downloaded archive must have.

    Raises:
        UserError: the source is not CIFAR-10, or is damaged; the message says where and how.
    """
    return cifar.open_store(KIND, cache, source, mirrors, md5)
