"""Small files that stand for large ones: one line each, before anything is unpacked."""

import gzip
import io
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cifar100x import compare, predict
from cifar100x.data.cifar import _from_parquet
from cifar100x.data.cifar100 import KIND
from cifar100x.disk.archives import iterate_files
from cifar100x.errors import UserError
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


def test_predictions_that_unpack_to_more_than_memory(train_command, command):
    assert train_command(*TINY, "-m", "fold=0,1", "trainer.max_epochs=1")[0] == 0
    run = RunDirectory(Path("runs/default/arch1-hyp1/fold0"))
    (run.path / "history.csv").write_bytes(b"x" * (65 << 20))
    code, _, err = command(compare.main, "study=default")
    assert (code, "history.csv" in err) == (1, True)
