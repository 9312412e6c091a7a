"""Small files that stand for large ones: one line each, before anything is unpacked."""

import bz2
import gzip
import io
import json
import os
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cifar100x import final, predict
from cifar100x.data import imagenet
from cifar100x.data.cifar import _from_parquet
from cifar100x.data.cifar100 import KIND
from cifar100x.disk import archives
from cifar100x.disk.archives import iterate_files
from cifar100x.errors import UserError
from cifar100x.runs import record
from cifar100x.runs.directory import RunDirectory
from tests.conftest import TINY, unseal
from tests.test_study import hand_made_study


def test_aliases_in_a_config(command):
    run = RunDirectory(Path("runs/s/a/fold0"))
    with run.session({"task": "classification", "name": "a", "fold": 0}):
        pass
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))]
    (run.path / "config.yaml").write_text("\n".join(lines))
    (run.path / "status.json").write_text('{"state": "done"}')
    Image.new("RGB", (8, 8)).save("x.png")
    code, _, err = command(predict.main, str(run.path), "x.png")
    assert code == 1
    assert "config.yaml is damaged (more than 100,000 values)" in err


def test_a_config_that_would_take_minutes(compare_command, tmp_path):
    hand_made_study(tmp_path / "runs/s", {"a": 0.3}, num_folds=2, images=50)
    unseal(RunDirectory(tmp_path / "runs/s/a/fold0"))
    config = tmp_path / "runs/s/a/fold0/config.yaml"
    config.write_text("x: [" + "1, " * 2**19 + "1]")
    status, _, err = compare_command("study=s")
    assert status == 1
    assert "config.yaml has 1,572,870 bytes, expected at most 1,048,576: no run wrote it" in err


def png(width: int, height: int) -> bytes:
    """A small file that says it is a large image."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_an_image_of_too_many_pixels_and_one_that_another_program_would_open(train_command, command, monkeypatch):
    assert train_command(*TINY, "trainer.max_epochs=1")[0] == 0
    Path("bomb.png").write_bytes(png(9000, 9000))
    code, _, err = command(predict.main, "runs/default/arch1-hyp1/fold0", "bomb.png")
    assert (code, "it has 9000x9000 pixels, expected at most 67,108,864" in err) == (1, True)
    Image.new("RGB", (8, 8)).save("photo.jpg", "EPS")
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("another program was started"))
    code, _, err = command(predict.main, "runs/default/arch1-hyp1/fold0", "photo.jpg")
    assert (code, "photo.jpg is not a readable image" in err) == (1, True)


def test_a_tar_whose_header_is_huge(tmp_path):
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 31
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(info.tobuf() + bytes(1 << 14)))
    with pytest.raises(UserError, match="a header of 2147483648 bytes, expected at most 1048576"):
        list(iterate_files(tmp_path / "x.tar.gz"))


def test_parquet_that_repeats_one_large_image():
    images = pa.array([{"bytes": bytes(1 << 20)}] * 50, pa.struct([("bytes", pa.binary())]))
    file = io.BytesIO()
    pq.write_table(pa.table({"img": images, "fine_label": np.zeros(50, np.int64)}), file, compression="zstd")
    del images
    assert len(file.getvalue()) < 1 << 20
    with pytest.raises(UserError, match="an image is too large"):
        _from_parquet(KIND, "bomb.parquet", file.getvalue())


def test_predictions_that_unpack_to_more_than_memory(compare_command, tmp_path, monkeypatch):
    monkeypatch.setitem(record.LARGEST, ".npz", 1 << 16)
    hand_made_study(tmp_path / "runs/s", {"a": 0.3}, num_folds=2, images=50)
    run = RunDirectory(tmp_path / "runs/s/a/fold0")
    unseal(run)
    np.savez_compressed(run.path / "predictions.npz", index=np.zeros(1 << 16), label=0, logits=0)
    assert (run.path / "predictions.npz").stat().st_size < 1 << 16
    code, _, err = compare_command("study=s")
    assert (code, "predictions.npz is damaged (it unpacks to 524,688 bytes, expected at most" in err) == (1, True), err


@pytest.mark.parametrize("name", ["history.csv", "status.json", "../../study.json", "../../report/verdict.json"])
def test_a_file_that_no_run_wrote(name, compare_command, command, tmp_path):
    """Too large, or a pipe, which would be waited for without end; or a device, by a link."""
    hand_made_study(tmp_path / "runs/s", {"a": 0.3, "b": 0.4}, num_folds=2, images=50)
    assert compare_command("study=s")[0] == 0
    run = RunDirectory(tmp_path / "runs/s/a/fold0")
    unseal(run)
    path = (run.path / name).resolve()
    look = command if "verdict" in name else lambda _, study: compare_command(study)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(65 << 20)
    code, _, err = look(final.main, "study=s")
    assert (code, "has 68,157,440 bytes, expected at most 67,108,864: no run wrote it" in err or "damaged" in err) == (
        1,
        True,
    )
    path.unlink()
    os.mkfifo(path)
    code, _, err = look(final.main, "study=s")
    assert (code, "is no file, expected one" in err or "damaged" in err) == (1, True), err
    path.unlink()
    path.symlink_to("/dev/zero")
    code, _, err = look(final.main, "study=s")
    assert (code, "is a link" in err or "damaged" in err) == (1, True), err


def test_files_that_a_status_names_and_no_run_has_are_not_opened(compare_command, tmp_path):
    hand_made_study(tmp_path / "runs/s", {"a": 0.3}, num_folds=2, images=50)
    run = RunDirectory(tmp_path / "runs/s/a/fold0")
    (tmp_path / "theirs").write_text("theirs")
    strange = {"/dev/zero": "0" * 64, "../../../../theirs": "0" * 64}
    run.path.joinpath("status.json").write_text(json.dumps(run.status | {"files": run.status["files"] | strange}))
    assert run.damaged == []
    assert compare_command("study=s")[0] == 0


def test_an_array_file_that_unpacks_to_more_than_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(imagenet, "LARGEST_FILE_BYTES", 1 << 16)
    np.savez_compressed(tmp_path / "train_data_batch_1.npz", data=np.zeros((1000, 3072), np.uint8))
    with pytest.raises(UserError, match=r"batch_1.npz .*unpacks to 3,072,128 bytes, expected at most 65,536"):
        list(imagenet.parts([tmp_path / "train_data_batch_1.npz"]))


def test_an_image_file_of_absurd_size_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "n00000001").mkdir()
    with (tmp_path / "n00000001/x.JPEG").open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(UserError, match=r"x.JPEG has 68,157,440 bytes, expected at most 67,108,864"):
        list(imagenet.parts([tmp_path]))


def test_a_tar_with_much_behind_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MIB_BEHIND", 2)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("x"), io.BytesIO())
    (tmp_path / "x.tar.bz2").write_bytes(bz2.compress(archive.getvalue() + bytes(4 << 20)))
    with pytest.raises(UserError, match="more than 2 MiB follow its end"):
        list(iterate_files(tmp_path / "x.tar.bz2"))


def test_a_tar_with_a_map_of_holes_that_is_none(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("x")
        info.pax_headers = {"GNU.sparse.map": "a,b", "GNU.sparse.size": "1"}
        tar.addfile(info, io.BytesIO())
    with pytest.raises(UserError, match=r"x.tar cannot be read, ends early or is damaged"):
        list(iterate_files(tmp_path / "x.tar"))
