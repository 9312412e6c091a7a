"""CIFAR-100, 100 classes in 20 superclasses."""

import re

from cifar100x.data import cifar
from cifar100x.data.classes import CIFAR100
from cifar100x.data.store import ImageStore

KIND = cifar.Kind(
    name="CIFAR-100",
    classes=CIFAR100,
    folder="cifar-100-python",
    batch=re.compile("(train|test)"),
    splits={"train": "train", "test": "test"},
    labels="fine_labels",
    superclasses="coarse_labels",
    column="fine_label",
)


def open_store(*, cache: str | None, source: str | None, mirrors: list[str], md5: str) -> ImageStore:
    """Open the image store of CIFAR-100, building it from `source` on first use.

    Args:
        cache: of stores and downloads, as for `cache_folder`.
        source: the official `cifar-100-python.tar.gz`, its unpacked folder, PNG folders
            `<split>/<class>/*.png` or `<split>/<superclass>/<class>/*.png`, parquet files with the columns `img` and
            `fine_label`, or any of these in a tar or zip; or an image store, by its path or its name in the cache. None
            downloads the official archive.
        mirrors: addresses of the official archive, tried in order.
        md5: checksum that a downloaded archive must have.

    Raises:
        UserError: the source is not CIFAR-100, or is damaged; the message says where and how.
    """
    return cifar.open_store(KIND, cache, source, mirrors, md5)
