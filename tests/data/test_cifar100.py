"""CIFAR-100 in every form people have it, and in forms that must be refused."""

import io
import os
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from cifar100x.data import cifar, cifar100
from cifar100x.data.building import Part, build
from cifar100x.data.classes import CIFAR100, CLASSES
from cifar100x.errors import UserError
from tests.conftest import no_store_in, png_name


def read(source):
    return cifar.read(cifar100.KIND, source)


def open_store(cache, source):
    return cifar100.open_store(cache=cache, source=source, mirrors=[], md5="")


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def as_pngs(splits, superclass_folders=False) -> dict[str, bytes]:
    return {
        png_name(name, i, label, superclass_folders): png(split.images[i].transpose(1, 2, 0))
        for name, split in splits.items()
        for i, label in enumerate(split.fine)
    }


def as_pickles(splits) -> dict[str, bytes]:
    """As the official archive: Python 2 pickles are protocol 2 with latin-1 byte strings."""

    def content(split):
        batch = {
            "data": split.images.reshape(len(split.images), -1),
            "fine_labels": split.fine.tolist(),
            "coarse_labels": split.coarse.tolist(),
            "filenames": [f"{i}.png" for i in range(len(split.fine))],
            "batch_label": "training batch 1 of 1",
        }
        return pickle.dumps(batch, protocol=2)

    meta = {"cifar-100-python/meta": pickle.dumps({"fine_label_names": list(CLASSES)}, protocol=2)}
    return {f"cifar-100-python/{name}": content(split) for name, split in splits.items()} | meta


def as_parquet(splits) -> dict[str, bytes]:
    def content(split):
        images = [{"bytes": png(i.transpose(1, 2, 0)), "path": None} for i in split.images]
        file = io.BytesIO()
        table = pyarrow.table({"img": images, "fine_label": split.fine, "coarse_label": split.coarse})
        pyarrow.parquet.write_table(table, file)
        return file.getvalue()

    return {f"cifar100/{name}-00000-of-00001.parquet": content(split) for name, split in splits.items()}


def put(files: dict[str, bytes], folder):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def tar(files: dict[str, bytes], path):
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def zipped(files: dict[str, bytes], path):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


FORMS = {
    "official tar.gz": lambda s, p: tar(as_pickles(s), p / "cifar-100-python.tar.gz"),
    "official folder": lambda s, p: put(as_pickles(s), p) / "cifar-100-python",
    "PNG folder": lambda s, p: put(as_pngs(s), p) / "cifar100",
    "PNG folder with superclasses": lambda s, p: put(as_pngs(s, superclass_folders=True), p) / "cifar100",
    "PNG folder, parent named": lambda s, p: put(as_pngs(s), p / "downloads"),
    "PNG tar.gz": lambda s, p: tar(as_pngs(s), p / "png.tar.gz"),
    "PNG tar": lambda s, p: tar(as_pngs(s, superclass_folders=True), p / "png.tar"),
    "PNG zip": lambda s, p: zipped(as_pngs(s), p / "png.zip"),
    "parquet folder": lambda s, p: put(as_parquet(s), p) / "cifar100",
    "parquet zip": lambda s, p: zipped(as_parquet(s), p / "hub.zip"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_store(form, tiny_cifar, tmp_path):
    source = FORMS[form](tiny_cifar, tmp_path)
    store = open_store(str(tmp_path / "cache"), str(source))
    assert store.manifest["splits"] == {"train": 200, "test": 100}
    assert store.classes == CIFAR100
    for name, expected in tiny_cifar.items():
        split = store.split(name)
        np.testing.assert_array_equal(split.images, expected.images)
        np.testing.assert_array_equal(split.fine, expected.fine)
        np.testing.assert_array_equal(split.coarse, expected.coarse)


def test_one_parquet_file_and_one_split_folder(tiny_cifar, tmp_path):
    put(as_parquet(tiny_cifar) | as_pngs(tiny_cifar), tmp_path)
    for source in (tmp_path / "cifar100" / "train-00000-of-00001.parquet", tmp_path / "cifar100" / "train"):
        assert list(read(source)) == ["train"]


def test_missing_test_split_is_refused_only_when_asked_for(tiny_cifar, tmp_path):
    source = tar(as_pngs({"train": tiny_cifar["train"]}), tmp_path / "train.tar")
    store = open_store(str(tmp_path / "cache"), str(source))
    assert len(store.split("train").images) == 200
    with pytest.raises(UserError, match=r"no 'test' split .*data\.source"):
        store.split("test")


def refused(source, message, cache):
    with pytest.raises(UserError, match=message) as error:
        open_store(str(cache), str(source))
    assert "\n" not in str(error.value)
    assert no_store_in(cache), "something was left behind"


def broken_pngs(tiny_cifar, change):
    files = as_pngs({"train": tiny_cifar["train"]})
    change(files)
    return files


HUGE = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4) + b"IHDR" + (60000).to_bytes(4) * 2 + b"\x08\x02" + bytes(7)
GREY, LARGE = np.zeros((32, 32), np.uint8), np.zeros((64, 64, 3), np.uint8)
FIRST = "cifar100/train/apple/apple_s_000000.png"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: [f.pop(n) for n in list(f) if "/apple/" in n], r"1 of the 100 classes have no image \(apple\)"),
        (lambda f: f.update({"cifar100/train/zebra/1.png": png(LARGE[:32, :32])}), "'zebra' is not one of the 100"),
        (lambda f: f.pop(FIRST), "most have 2 images but apple 1"),
        (lambda f: f.update({FIRST: png(LARGE)}), "is a 64x64 image of mode RGB, expected 32x32 RGB"),
        (lambda f: f.update({FIRST: png(GREY)}), "is a 32x32 image of mode L, expected 32x32 RGB"),
        (lambda f: f.update({FIRST: f[FIRST][:200]}), "apple_s_000000.png is not a readable PNG"),
        (lambda f: f.update({FIRST: HUGE}), "apple_s_000000.png is"),
        (lambda f: f.update({FIRST: b"GIF89a"}), "apple_s_000000.png is not a readable PNG"),
        (lambda f: f.update({"cifar100/loose.png": f.pop(FIRST)}), "should lie at <split>/<class>/"),
        (lambda f: f.update({"cifar100/train/fish/apple/1.png": f.pop(FIRST)}), "not belong to a superclass 'fish'"),
        (lambda f: f.clear(), "it holds none of them"),
        (lambda f: f.update({"cifar100/train.parquet": b""}), "train.parquet is not a parquet file"),
    ],
)  # fmt: skip
def test_bad_pngs(change, message, tiny_cifar, tmp_path):
    source = tar(broken_pngs(tiny_cifar, change), tmp_path / "png.tar")
    refused(source, message, tmp_path / "cache")


@pytest.mark.parametrize("form", [as_pickles, as_pngs, as_parquet])
def test_a_split_in_two_copies_is_refused(form, tiny_cifar, tmp_path):
    """Every image of it would be held out and trained on."""
    files = form(tiny_cifar)
    source = put(files, tmp_path / "data").parent / "data"
    put(files, tmp_path / "data" / "backup")
    said = r"data holds images of (train|test) in data/backup/.* and in data/.*: name one of them"
    refused(source, said, tmp_path / "cache")


def test_an_archive_that_has_a_file_twice(tiny_cifar, tmp_path):
    """As one that was added to has."""
    path = tar(as_pickles(tiny_cifar), tmp_path / "c.tar")
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("cifar-100-python/train")
        content = as_pickles(tiny_cifar)["cifar-100-python/train"]
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    refused(path, r"c.tar holds cifar-100-python/train twice", tmp_path / "cache")


def test_names_that_are_no_text(tiny_cifar, tmp_path):
    """A note beside the images, in an encoding of long ago."""
    source = put(as_pickles(tiny_cifar), tmp_path) / "cifar-100-python"
    Path(os.fsdecode(os.fsencode(source) + b"/caf\xe9.txt")).touch()
    assert len(open_store(str(tmp_path / "cache"), str(source)).split("train").images) == 200


def test_labels_out_of_range(tiny_cifar, tmp_path):
    files = as_pickles({"train": tiny_cifar["train"]})
    batch = pickle.loads(files["cifar-100-python/train"])
    batch["fine_labels"][0] = 100
    files["cifar-100-python/train"] = pickle.dumps(batch, protocol=2)
    refused(put(files, tmp_path / "in"), r"labels run from 0 to 100, expected 0\.\.99", tmp_path / "cache")


@pytest.mark.parametrize("form", ["official tar.gz", "PNG tar.gz", "PNG zip", "PNG tar"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_truncated_archive(form, kept, tiny_cifar, tmp_path):
    source = FORMS[form](tiny_cifar, tmp_path)
    source.write_bytes(source.read_bytes()[: int(kept * source.stat().st_size)])
    refused(source, "ends early or is damaged", tmp_path / "cache")


def test_one_flipped_bit_in_a_compressed_archive(tiny_cifar, tmp_path):
    source = tar(as_pickles(tiny_cifar), tmp_path / "cifar-100-python.tar.gz")
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 1
    source.write_bytes(content)
    with pytest.raises(UserError):
        read(source)


def test_what_a_macintosh_adds_and_links_in_a_folder(tiny_cifar, tmp_path, monkeypatch):
    """Resource forks are ignored, links to files are followed, and the folder may be the current one."""
    folder = put(as_pickles(tiny_cifar), tmp_path / "blobs") / "cifar-100-python"
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    for name in ("train", "test", "meta"):
        (unpacked / name).symlink_to(folder / name)
    put({"__MACOSX/._train": b"fork", "._x.png": b"fork"}, unpacked)
    monkeypatch.chdir(unpacked)
    assert list(read(Path())) == ["train", "test"]


def test_web_page_instead_of_archive(tmp_path):
    source = tmp_path / "cifar-100-python.tar.gz"
    source.write_text("<!DOCTYPE html><html><body>404</body></html>")
    refused(source, "is a web page, not an archive", tmp_path / "cache")


def test_source_that_does_not_exist(tmp_path):
    refused(tmp_path / "nowhere", "does not exist", tmp_path / "cache")


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_hostile_pickle_executes_nothing(tmp_path):
    victim = tmp_path / "written"
    files = {"cifar-100-python/train": pickle.dumps({"data": Hostile(victim)}, protocol=2)}
    refused(tar(files, tmp_path / "c.tar.gz"), r"not a pickle of arrays: it calls (io|_io)\.open", tmp_path / "cache")
    assert not victim.exists()


def test_hostile_archive_overwrites_nothing(tiny_cifar, tmp_path):
    """Members that climb out, absolute names and links are read as data or skipped; no file appears."""
    victim = tmp_path / "victim"
    source = tar(as_pngs({"train": tiny_cifar["train"]}), tmp_path / "png.tar")
    with tarfile.open(source, "a") as archive:
        link = tarfile.TarInfo("cifar100/train/apple/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        for name in ("../victim", str(victim)):
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
    assert len(read(source)["train"].images) == 200
    assert not victim.exists()
    assert not (tmp_path.parent / "victim").exists()


def test_zip_that_unpacks_to_more_than_memory_is_refused_unread(tmp_path):
    source = tmp_path / "bomb.zip"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/apple/1.png", bytes(1 << 20))
        archive.infolist()[0].file_size = 1100 << 20  # as the directory of the archive tells, which alone is read
    refused(source, "unpacks to 1,153,433,600 bytes", tmp_path / "cache")


def test_a_changed_source_is_another_store(tiny_cifar, tmp_path):
    folder = put(as_pngs(tiny_cifar), tmp_path) / "cifar100"
    before = open_store(str(tmp_path / "cache"), str(folder))
    shutil.rmtree(folder / "test")
    after = open_store(str(tmp_path / "cache"), str(folder))
    assert before.fingerprint != after.fingerprint
    assert list(after.manifest["splits"]) == ["train"]


def test_real_images(real_data, tmp_path):
    """Counts, and the mean of the 50,000 training images that TensorFlow-era code has in it."""
    store = cifar100.open_store(
        cache=str(tmp_path), source=str(real_data / "cifar100-png-train.tar.gz"), mirrors=[], md5=""
    )
    split = store.split("train")
    assert np.bincount(split.fine).tolist() == [500] * 100
    means = split.images.reshape(len(split.images), 3, -1).mean((0, 2)) / 255
    np.testing.assert_allclose(means, [0.5071, 0.4865, 0.4409], atol=5e-5)


def test_a_store_is_a_source_too(tiny_cifar, tmp_path):
    """As the nodes of a cluster take it, which have no other source."""
    build(tmp_path / "store", "cifar100", {}, lambda _: [Part(n, vars(s)) for n, s in tiny_cifar.items()], CIFAR100)
    store = open_store(str(tmp_path / "cache"), str(tmp_path / "store"))
    np.testing.assert_array_equal(store.split("train").images, tiny_cifar["train"].images)
    assert not (tmp_path / "cache").exists()
