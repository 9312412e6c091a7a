"""Downsampled ImageNet in every form people have it, in forms that must be refused, and built by halves."""

import io
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar100x.data import building, imagenet
from cifar100x.errors import UserError
from tests.conftest import no_store_in

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
WNIDS = ("n01440764", "n02102040")


def encoded(pixels: np.ndarray, mode: str = "RGB", kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).convert(mode).save(file, kind)
    return file.getvalue()


def as_pickles(images) -> dict[str, bytes]:
    def batch(part):
        return pickle.dumps({"data": part.reshape(len(part), -1), "labels": [1] * len(part), "mean": np.zeros(3072)})

    return {"train_data_batch_1": batch(images[:5]), "train_data_batch_2": batch(images[5:])}


def as_npz(images) -> dict[str, bytes]:
    def batch(part):
        file = io.BytesIO()
        np.savez(file, data=part.reshape(len(part), -1), labels=np.ones(len(part)))
        return file.getvalue()

    return {"train_data_batch_1.npz": batch(images[:5]), "train_data_batch_2.npz": batch(images[5:])}


def as_pngs(images) -> dict[str, bytes]:
    return {f"train_32x32/{i:07d}.png": encoded(image) for i, image in enumerate(images)}


def as_tiny(images) -> dict[str, bytes]:
    """64x64, each pixel four times, so that the box filter must give the images back; the test split is left alone."""
    large = images.repeat(2, axis=2).repeat(2, axis=3)
    names = [f"tiny-imagenet-200/train/{WNIDS[i // 6]}/images/{WNIDS[i // 6]}_{i:02d}.JPEG" for i in range(len(images))]
    return {name: encoded(image) for name, image in zip(names, large, strict=True)} | {
        "tiny-imagenet-200/test/images/test_0.JPEG": encoded(large[0]),
        "tiny-imagenet-200/wnids.txt": b"n01440764",
    }


def as_tree(images) -> dict[str, bytes]:
    return {f"train/{WNIDS[i // 6]}/{WNIDS[i // 6]}_{i:02d}.JPEG": encoded(image) for i, image in enumerate(images)}


BUILD = (sys.executable, "-m", "cifar100x.data.imagenet")

FORMS = {
    "ImageNet32 pickles": as_pickles,
    "ImageNet32 npz": as_npz,
    "unlabelled 32x32 PNGs": as_pngs,
    "Tiny-ImageNet-200": as_tiny,
    "ImageNet tree": as_tree,
}


def place(files: dict[str, bytes], where: Path, packing: str) -> Path:
    if packing == "folder":
        for name, content in files.items():
            (where / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (where / "source" / name).write_bytes(content)
        return where / "source"
    path = where / f"source.{packing}"
    if packing == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if packing == "tar.gz" else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("packing", ["folder", "tar", "tar.gz", "zip"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_images(form, packing, tmp_path):
    source = place(FORMS[form](IMAGES), tmp_path, packing)
    opened = imagenet.open_store(cache=str(tmp_path / "cache"), source=str(source))
    np.testing.assert_array_equal(opened.images("train"), IMAGES)
    assert opened.manifest["splits"] == {"train": 12}
    assert opened.manifest["origins"] == {f"{source}: {form}": 12}


def test_several_sources_are_one_set(tmp_path):
    train = place(as_pickles(IMAGES), tmp_path, "folder")
    (tmp_path / "b").mkdir()
    val = place({"val_data": as_pickles(IMAGES[::-1])["train_data_batch_1"]}, tmp_path / "b", "zip")
    opened = imagenet.open_store(cache=str(tmp_path / "cache"), source=[str(train), str(val)])
    np.testing.assert_array_equal(opened.images("train"), np.concatenate([IMAGES, IMAGES[:-6:-1]]))
    assert list(opened.manifest["origins"].values()) == [12, 5]
    again = imagenet.open_store(cache=str(tmp_path / "cache"), source=None)
    assert again.fingerprint == opened.fingerprint, "no source means the store built before"


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_modes_and_shapes_of_jpegs(mode, tmp_path):
    """A flat colour survives JPEG, and any shape becomes 32x32."""
    grey = np.full((3, 100, 61), 120, np.uint8)
    source = place({"n01440764/x.JPEG": encoded(grey, mode, "JPEG")}, tmp_path, "folder")
    (image,) = imagenet.open_store(cache=str(tmp_path / "cache"), source=str(source)).images("train")
    assert np.abs(image.astype(int) - 120).max() <= 2


def test_the_box_filter():
    """Against plain averages of 4x4 pixels."""
    large = np.random.default_rng(1).integers(0, 256, (3, 128, 128), dtype=np.uint8)
    (small,) = imagenet.decode_all([("x", encoded(large))])
    averages = large.reshape(3, 32, 4, 32, 4).mean(axis=(2, 4))
    assert np.abs(small - averages).max() <= 1


def test_no_labels_means_no_classifier(tmp_path):
    source = place(as_pickles(IMAGES), tmp_path, "folder")
    opened = imagenet.open_store(cache=str(tmp_path / "cache"), source=str(source))
    with pytest.raises(UserError, match="have no labels: they serve for pre-training only"):
        opened.split("train")


BAD = {
    "nothing": ({"readme.txt": b"hello"}, "it holds none of them"),
    "archives": ({"Imagenet32_train.zip": b"PK"}, "archives: name .*Imagenet32_train.zip itself"),
    "two forms": (as_pickles(IMAGES) | as_npz(IMAGES), "name one of them"),
    "a bad JPEG": ({"n01440764/x.JPEG": b"\xff\xd8 no"}, r"n01440764/x.JPEG is not a readable image"),
    "a cut pickle": ({"val_data": as_pickles(IMAGES)["train_data_batch_1"][:9000]}, "val_data"),
    "a pickle that calls": ({"val_data": b"cos\nsystem\n(S'echo hi'\ntR."}, "it calls os.system"),
    "a pickle of floats": ({"val_data": pickle.dumps({"data": np.zeros((2, 3072))})}, r"float64 \(2, 3072\), expected"),
    "objects in npz": (
        {"val_data.npz": (lambda f: (np.savez(f, data=np.array([None])), f.getvalue())[1])(io.BytesIO())},
        "val_data.npz is not an npz file",
    ),
    "64x64 pickles": (
        {"val_data": pickle.dumps({"data": np.zeros((2, 12288), np.uint8)})},
        r"expected uint8 \(N, 3072",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_sources_are_one_line_and_leave_nothing(bad, tmp_path):
    files, message = BAD[bad]
    source = place(files, tmp_path, "folder")
    with pytest.raises(UserError, match=message) as error:
        imagenet.open_store(cache=str(tmp_path / "cache"), source=str(source))
    assert "\n" not in str(error.value)
    assert no_store_in(tmp_path / "cache")


def test_the_same_place_twice(tmp_path):
    with pytest.raises(UserError, match="expected one or several different places"):
        imagenet.open_store(cache=str(tmp_path), source=["/a", "/a"])


def test_no_source_and_no_store(tmp_path):
    with pytest.raises(UserError, match=r"name your copy, as in data\.source="):
        imagenet.open_store(cache=str(tmp_path), source=None)


def build_here(cache, sources):
    """In this process, where it can be interfered with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["", str(cache), *map(str, sources)])
        imagenet.main()


@pytest.mark.parametrize("form", ["ImageNet32 pickles", "ImageNet tree"])
def test_an_interrupted_build_goes_on_where_it_was(form, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "COMMIT_BYTES", 1)
    monkeypatch.setattr(imagenet, "GROUP_IMAGES", 5)
    source = place(FORMS[form](IMAGES), tmp_path, "folder")
    whole = imagenet.open_store(cache=str(tmp_path / "undisturbed"), source=str(source))
    monkeypatch.setattr(imagenet, "_build_elsewhere", build_here)
    asked = []
    real_parts = imagenet.parts

    def interrupted(sources, num_done):
        for number, part in enumerate(real_parts(sources, num_done)):
            if number == 1:
                raise KeyboardInterrupt
            yield part

    def observed(sources, num_done):
        asked.append(num_done)
        return real_parts(sources, num_done)

    monkeypatch.setattr(imagenet, "parts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        imagenet.open_store(cache=str(tmp_path / "cache"), source=str(source))
    (partial,) = (tmp_path / "cache").glob("*.building/partial")
    with (partial / "images.npy").open("ab") as file:
        file.write(b"half an image, written just before the power went")
    monkeypatch.setattr(imagenet, "parts", observed)
    resumed = imagenet.open_store(cache=str(tmp_path / "cache"), source=str(source))
    assert asked == [1], "the first part is not read again"
    assert resumed.fingerprint == whole.fingerprint
    assert resumed.manifest["splits"] == {"train": 12}


def test_what_the_builder_says_is_heard_at_once(tmp_path, monkeypatch, capfd):
    """It is another process, which may wait for hours until a third one has built the store."""
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\necho waiting for process 1 >&2; echo '{imagenet.ERROR}no images' >&2; exit 1\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    with pytest.raises(UserError, match=r"^no images$"):
        imagenet.open_store(cache=str(tmp_path / "cache"), source=str(interpreter))
    assert capfd.readouterr().err == "waiting for process 1\n"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found through /proc")
def test_a_killed_build_leaves_no_processes(tmp_path):
    """The decoding processes go when the one that started them was killed without warning."""
    source = tmp_path / "n01440764"
    source.mkdir()
    large = encoded(np.random.default_rng(0).integers(0, 256, (3, 1000, 1000), dtype=np.uint8))
    for i in range(100):
        (source / f"{i:03d}.JPEG").write_bytes(large)
    process = subprocess.Popen([*BUILD, tmp_path / "cache", source])
    while not (pids := list(descendants(process.pid))) and process.poll() is None:
        time.sleep(0.01)
    assert pids, "the builder was to decode in other processes"
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in pids)


def descendants(pid: int):
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            yield child
            yield from descendants(child)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_set(tmp_path):
    """Twelve batches of 15 MB take hardly more memory than two."""
    images = np.zeros((5000, 3072), np.uint8)
    batch = pickle.dumps({"data": images, "labels": [1] * 5000})

    def peak_bytes(num_batches):
        source = tmp_path / f"source{num_batches}"
        source.mkdir()
        for i in range(num_batches):
            (source / f"train_data_batch_{i}").write_bytes(batch)
        code = (
            "import sys; from pathlib import Path; from cifar100x.data import imagenet; imagenet.main();"
            "print(Path('/proc/self/status').read_text())"
        )
        command = [sys.executable, "-c", code, tmp_path / "cache", source]
        status = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    two, twelve = peak_bytes(2), peak_bytes(12)
    assert two > len(batch), "a batch is read at a time"
    assert twelve - two < len(batch)


def test_the_real_sample(real_data, tmp_path):
    source = real_data / "tiny-imagenet-200-sample.tar.gz"
    if not source.exists():
        pytest.skip(f"{source} is absent")
    opened = imagenet.open_store(cache=str(tmp_path / "cache"), source=str(source))
    assert opened.manifest["origins"] == {f"{source}: Tiny-ImageNet-200": 6000}
    mean = opened.images("train").mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(mean, (0.480, 0.448, 0.398), atol=0.01)  # as published for the whole set
