"""CIFAR-10 in every form people have it: the same reader as CIFAR-100's, other files."""

import io
import pickle

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from cifar100x.data import cifar10
from cifar100x.data.store import Split
from cifar100x.errors import UserError
from tests.data.test_cifar100 import png, put, tar, zipped


@pytest.fixture(scope="module")
def tiny() -> dict[str, Split]:
    """Five training images and two test images of each class, ordered by class."""
    images = np.random.default_rng(0).integers(0, 256, (70, 3, 32, 32), dtype=np.uint8)
    zeros = np.zeros(50, np.uint8)
    return {
        "train": Split(images[:50], np.repeat(np.arange(10), 5), zeros),
        "test": Split(images[50:], np.repeat(np.arange(10), 2), zeros[:20]),
    }


def as_pickles(splits) -> dict[str, bytes]:
    """Five training batches, one image of each class in every one, as the official archive has them."""
    train, test = splits["train"], splits["test"]
    parts = {f"data_batch_{k + 1}": (train.images[k::5], train.fine[k::5]) for k in range(5)}
    parts["test_batch"] = (test.images, test.fine)
    files = {
        name: pickle.dumps({"data": i.reshape(len(i), -1), "labels": fine.tolist()}, protocol=2)
        for name, (i, fine) in parts.items()
    }
    files["batches.meta"] = pickle.dumps({"label_names": list(cifar10.CIFAR10.names)}, protocol=2)
    return {f"cifar-10-batches-py/{name}": content for name, content in files.items()}


def as_pngs(splits) -> dict[str, bytes]:
    return {
        f"cifar10/{name}/{cifar10.CIFAR10.names[label]}/{i:03}.png": png(image.transpose(1, 2, 0))
        for name, split in splits.items()
        for i, (image, label) in enumerate(zip(split.images, split.fine, strict=True))
    }


def as_parquet(splits) -> dict[str, bytes]:
    files = {}
    for name, split in splits.items():
        file = io.BytesIO()
        images = [{"bytes": png(i.transpose(1, 2, 0)), "path": None} for i in split.images]
        pyarrow.parquet.write_table(pyarrow.table({"img": images, "label": split.fine}), file)
        files[f"plain_text/{name}-00000-of-00001.parquet"] = file.getvalue()
    return files


FORMS = {
    "official tar.gz": lambda s, p: tar(as_pickles(s), p / "cifar-10-python.tar.gz"),
    "official folder": lambda s, p: put(as_pickles(s), p) / "cifar-10-batches-py",
    "PNG folder": lambda s, p: put(as_pngs(s), p) / "cifar10",
    "PNG zip": lambda s, p: zipped(as_pngs(s), p / "png.zip"),
    "parquet folder": lambda s, p: put(as_parquet(s), p) / "plain_text",
}


def store_of(source, tmp_path):
    return cifar10.open_store(cache=str(tmp_path / "cache"), source=str(source), mirrors=[], md5="")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_images(form, tiny, tmp_path):
    store = store_of(FORMS[form](tiny, tmp_path), tmp_path)
    assert store.manifest["splits"] == {"train": 50, "test": 20}
    assert store.classes == cifar10.CIFAR10
    for name, expected in tiny.items():
        split = store.split(name)
        order = np.argsort(split.fine, kind="stable")
        np.testing.assert_array_equal(split.images[order], expected.images)
        np.testing.assert_array_equal(split.fine[order], expected.fine)


def test_another_data_set_is_refused(tiny, tmp_path):
    folder = put({"cifar10/train/apple/x.png": png(tiny["train"].images[0].transpose(1, 2, 0))}, tmp_path)
    with pytest.raises(UserError, match="'apple' is not one of the 10 classes of CIFAR-10"):
        store_of(folder / "cifar10", tmp_path)
    Image.new("RGB", (32, 32)).save(tmp_path / "x.jpg")
    with pytest.raises(UserError, match=r"should hold CIFAR-10 as official files \(in cifar-10-batches-py/\)"):
        store_of(tmp_path / "x.jpg", tmp_path)
