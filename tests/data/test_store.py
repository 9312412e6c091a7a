"""A store is built once, checked when opened, and never half there."""

import multiprocessing
import os
import resource
import shutil
import signal
import socket
import time
from contextlib import nullcontext

import numpy as np
import pytest

from cifar100x.data import building
from cifar100x.data.building import Part, open_or_build
from cifar100x.data.classes import Classes
from cifar100x.data.store import ImageStore
from cifar100x.disk import owner
from cifar100x.disk.owner import LostError
from cifar100x.errors import UserError
from tests.conftest import no_store_in


def build_slowly(log, seconds=0.5):
    with log.open("a") as file:
        file.write("built\n")
    time.sleep(seconds)
    rows = np.arange(100 * 3 * 32 * 32) % 251
    labels = np.arange(100)
    images = rows.astype(np.uint8).reshape(100, 3, 32, 32)
    yield Part("train", {"images": images, "fine": labels, "coarse": labels // 5})


def open_store(cache, log, seconds=0.5):
    return open_or_build(
        cache, "tiny", {"path": "here"}, lambda num_done: build_slowly(log, seconds), Classes(("a", "b"))
    )


def test_two_processes_build_once(tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=open_store, args=(tmp_path / "cache", log)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert log.read_text() == "built\n"


@pytest.mark.parametrize("locks", [True, False])
def test_who_waits_for_a_suspended_builder_says_for_whom(locks, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(building, "PATIENCE_SECONDS", 0.1)
    if not locks:
        monkeypatch.setattr(owner, "locked", lambda *_: nullcontext())
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    builder, waiter = (context.Process(target=open_store, args=(tmp_path / "cache", log, 1)) for _ in range(2))
    builder.start()
    while not log.exists():
        time.sleep(0.01)
    os.kill(builder.pid, signal.SIGSTOP)
    waiter.start()
    said = ""
    while "waiting" not in said:
        said += capfd.readouterr().err
        time.sleep(0.02)
    assert f"waiting for process {builder.pid} of " in said
    os.kill(builder.pid, signal.SIGCONT)
    for process in (builder, waiter):
        process.join()
    assert sorted(p.suffix for p in (tmp_path / "cache").iterdir()) == ["", ".building"]
    assert {p.name for p in (tmp_path / "cache").glob("*.building/*")} <= {".lock"}
    assert log.read_text() == "built\n"


def test_a_killed_builder_leaves_no_store(tmp_path):
    log = tmp_path / "log"
    process = multiprocessing.get_context("fork").Process(target=open_store, args=(tmp_path / "cache", log, 60))
    process.start()
    while not log.exists() or not log.read_text():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    store = open_store(tmp_path / "cache", log, 0)
    assert log.read_text() == "built\nbuilt\n"
    assert store.split("train").images[99, 2, 31, 31] == (100 * 3 * 32 * 32 - 1) % 251


def test_arrays_are_memory_mapped(tmp_path):
    split = open_store(tmp_path, tmp_path / "log", 0).split("train")
    assert isinstance(split.images, np.memmap)
    assert split.images.dtype == np.uint8
    assert split.images.shape == (100, 3, 32, 32)


@pytest.mark.parametrize("file", ["images.npy", "fine.npy"])
def test_damage_is_found_on_opening(file, tmp_path):
    path = open_store(tmp_path, tmp_path / "log", 0).path
    content = bytearray((path / file).read_bytes())
    content[-1] ^= 1
    (path / file).write_bytes(content)
    with pytest.raises(UserError, match=r"is damaged: its fingerprint is .* restore it, or move it elsewhere"):
        ImageStore(path)


@pytest.mark.parametrize("file", ["manifest.json", "images.npy"])
def test_a_missing_file_is_found_on_opening(file, tmp_path):
    path = open_store(tmp_path, tmp_path / "log", 0).path
    (path / file).unlink()
    with pytest.raises(UserError, match=rf"is damaged .*{file}.*restore it, or move it elsewhere"):
        ImageStore(path)


def test_full_disk(tmp_path):
    """The largest file that this process may write stands in for the size of a disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write the image store .*cache=/path"):
            open_store(tmp_path / "cache", tmp_path / "log", 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert no_store_in(tmp_path / "cache")


def test_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"cannot write the image store .*cache=/path"):
        open_store(tmp_path / "cache", tmp_path / "log", 0)


def test_read_only_cache_with_the_store_in_it(tmp_path, monkeypatch):
    path = open_store(tmp_path / "cache", tmp_path / "log", 0).path
    shutil.rmtree(tmp_path / "cache" / f"{path.name}.building")
    before = sorted(p.name for p in (tmp_path / "cache").iterdir())
    assert len(open_store(tmp_path / "cache", tmp_path / "log", 0).split("train").fine) == 100
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == before, "opening wrote into the cache"


def test_contents_are_hashed_once_and_again_when_a_file_has_changed(tmp_path, monkeypatch):
    from cifar100x.data import store as module

    hashed = []
    fingerprint = module.fingerprint_of
    opened = open_store(tmp_path, tmp_path / "log", 0)
    monkeypatch.setattr(module, "fingerprint_of", lambda *a: hashed.append(1) or fingerprint(*a))
    ImageStore(opened.path)
    assert hashed == [], "it was looked at when it was opened first"
    os.utime(opened.path / "images.npy")
    assert ImageStore(opened.path).fingerprint == opened.fingerprint
    assert hashed == [1]
    ImageStore(opened.path)
    assert hashed == [1]
    with (opened.path / "images.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    with pytest.raises(UserError, match="is damaged: its fingerprint is"):
        ImageStore(opened.path)


def test_a_label_that_does_not_fit_is_refused(tmp_path):
    """256 would become 0."""
    images, labels = np.zeros((2, 3, 32, 32), np.uint8), np.array([0, 256])
    part = Part("train", {"images": images, "fine": labels, "coarse": labels // 100})
    with pytest.raises(UserError, match=r"labels run from 0 to 256, expected 0..255"):
        open_or_build(tmp_path, "tiny", {"path": "here"}, lambda _: [part])
    assert no_store_in(tmp_path)


def test_a_builder_that_was_suspended_where_no_lock_is_shared(tmp_path, monkeypatch):
    """Another machine takes it for dead and makes the store; when it awakes it notices, and touches nothing of it."""
    monkeypatch.setattr(owner, "locked", lambda *_: nullcontext())
    rows = [np.full((2, 3, 32, 32), number, np.uint8) for number in range(4)]

    def parts(_, in_between=lambda: None):
        for number, images in enumerate(rows):
            yield Part("train", {"images": images})
            if number == 1:
                in_between()

    def other():
        (signature,) = tmp_path.glob("*.building/.owner")
        long_ago = time.time() - 200
        os.utime(signature, (long_ago, long_ago))
        monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
        open_or_build(tmp_path, "tiny", {"path": "here"}, parts)

    with pytest.raises(LostError, match=r"was deleted or taken over by another process"):
        open_or_build(tmp_path, "tiny", {"path": "here"}, lambda _: parts(_, other))
    path, site = sorted(tmp_path.iterdir())
    images = ImageStore(path).images("train")
    np.testing.assert_array_equal(images, np.concatenate(rows))
    assert building.fingerprint_of(path, ["images"]) == ImageStore(path).fingerprint
    assert {p.name for p in site.iterdir()} <= {".lock"}
