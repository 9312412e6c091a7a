"""Results that would lie: each fault of docs/reliability.md, as it happens, and what is said of it."""

import fcntl
import json
import os
import shutil
import signal
import socket
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from cifar100x import final, predict
from cifar100x.app.parts import make_net
from cifar100x.disk import owner
from cifar100x.disk.owner import HeldError, LostError, owned
from cifar100x.errors import UserError
from cifar100x.runs.directory import RunDirectory, RunHeldError
from cifar100x.runs.looks import Looks
from cifar100x.runs.networks import classifiers, load_network
from cifar100x.runs.study import Study
from tests.conftest import TESTED, TINY, TINY_PRETRAINING, signalled, unseal
from tests.test_study import hand_made_study

RUN = RunDirectory(Path("runs/default/arch1-hyp1/fold0"))
OTHER = RunDirectory(Path("runs/default/arch2-hyp1/fold0"))
ONE = (*TESTED, "learning_rate=1e-2")
PAIR = (*ONE, "-m", "model=arch1,arch2", "fold=0,1")
"""What trained the study that tests share."""


@pytest.fixture
def pair(command, compared_study):
    shutil.copytree(compared_study / "runs", "runs")
    shutil.rmtree("runs/default/report")


@pytest.mark.parametrize("arguments", [TINY, TINY_PRETRAINING])
def test_a_loss_that_is_no_number_ends_the_run(arguments, train_command):
    status, out, err = train_command(*arguments, "learning_rate=1e15", "study=s")
    assert (status, out) == (1, "")
    assert "at epoch 1, step 2; the last finite one was" in err or "at epoch 1, step 3; the last finite one was" in err
    (found,) = Path("runs/s").rglob("status.json")
    assert json.loads(found.read_text())["state"] == "failed"
    assert not list(Path("runs/s").rglob("metrics.json"))


def test_a_directory_that_is_deleted_under_a_run_is_not_written_to(train_command, monkeypatch):
    """And another run that has begun there meanwhile keeps its own."""
    begin = RunDirectory.begin

    def disturbed(run, environment):
        begin(run, environment)
        shutil.rmtree(run.path)
        run.path.mkdir()
        with owned(run.path, 0):
            (run.path / "status.json").write_text('{"state": "somebody else\'s"}')
            shutil.copytree(run.path, "theirs")

    monkeypatch.setattr(RunDirectory, "begin", disturbed)
    status, out, err = train_command(*TINY)
    assert (status, out) == (1, "")
    assert "was deleted or taken over by another process while this one was at it" in err
    there = {path.name for path in RUN.path.rglob("*") if path.is_file() and "tfevents" not in path.name}
    assert there <= {"status.json", ".lock"}
    assert RUN.status == {"state": "somebody else's"}


def test_a_suspended_process_of_another_machine_has_lost_its_run(tmp_path, monkeypatch):
    """Where locks are not shared, signatures tell: held while fresh, taken over when stale, lost for the suspended."""
    monkeypatch.setattr(owner, "locked", lambda *_: FileLock(tmp_path / f"{socket.gethostname()}.lock"))
    (tmp_path / "run").mkdir()
    with owned(tmp_path / "run", 0) as suspended:
        monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
        with pytest.raises(HeldError, match=r"process \d+ of .* \(silent for \d+ s; taken for dead after 120\)"):
            owned(tmp_path / "run", 0).__enter__()
        long_ago = time.time() - 200
        os.utime(suspended.path, (long_ago, long_ago))
        with owned(tmp_path / "run", 0) as ours:
            ours.check()
            with pytest.raises(LostError):
                suspended.check()
        assert not list((tmp_path / "run").glob(".owner"))


@pytest.mark.parametrize("refusal", [NotImplementedError(), OSError(37, "No locks available")])
def test_a_file_system_without_locks(refusal, train_command, monkeypatch):
    def refuse(*_, **__):
        raise refusal

    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert train_command(*TINY)[0] == 0
    assert RUN.is_whole
    assert not RUN.is_held


DAMAGE = {
    "a/fold0/status.json": '{"state": "eliminated"}',
    "a/fold0/metrics.json": '{"fold": 0, "folds": "x"}',
    "a/fold0/classes.json": '{"names": 5}',
    "b/fold0/classes.json": '{"names": ["x", "y"], "superclasses": ["s"], "superclass_of": [0]}',
    "b/fold1/classes.json": '{"names": ["x", "y"], "superclasses": ["s"], "superclass_of": []}',
    "b/fold1/status.json": "[" * 100_000,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_that_holds_something_else_is_told_in_a_line(name, compare_command, tmp_path):
    hand_made_study(tmp_path / "runs/s", {"a": 0.3, "b": 0.4}, num_folds=2, images=50)
    path = tmp_path / "runs/s" / name
    unseal(RunDirectory(path.parent))
    path.write_text(DAMAGE[name])
    code, out, err = compare_command("study=s")
    assert (code, out, len(err.splitlines())) == (1, "", 1), err
    assert str(path.relative_to(tmp_path)) in err or f"{path.parts[-3]} lacks fold" in err


@pytest.mark.parametrize(("key", "inner"), [("seed", None), ("environment", "device")])
def test_metrics_that_say_too_little(key, inner, compare_command, tmp_path):
    hand_made_study(tmp_path / "runs/s", {"a": 0.3, "b": 0.4}, num_folds=2, images=50)
    run = RunDirectory(tmp_path / "runs/s/a/fold0")
    unseal(run)
    metrics = json.loads((run.path / "metrics.json").read_text())
    del (metrics[key] if inner else metrics)[inner or key]
    (run.path / "metrics.json").write_text(json.dumps(metrics))
    code, out, err = compare_command("study=s")
    assert (code, out, len(err.splitlines()), "metrics.json" in err) == (1, "", 1, True), err


def test_folds_that_are_a_pipe_are_absent(compare_command, tmp_path):
    hand_made_study(tmp_path / "runs/s", {"a": 0.3}, num_folds=2, images=50)
    folds = tmp_path / "runs/s/folds.npz"
    folds.unlink()
    os.mkfifo(folds)
    code, _, err = compare_command("study=s")
    assert (code, "folds.npz is absent or damaged" in err) == (1, True), err


@pytest.mark.parametrize("content", ["", "{}", '[{"study": "s"}]', "[1]"])
def test_a_record_of_looks_that_is_damaged(content, tmp_path):
    looks = Looks(tmp_path, "fingerprint")
    looks.add(tmp_path / "s", "a")
    assert [look["model"] for look in looks.of_study(tmp_path / "s")] == ["a"]
    looks.path.write_text(content)
    with pytest.raises(UserError, match=r"fingerprint.json, the record of looks, is damaged .*: restore or remove it"):
        looks.add(tmp_path / "s", "a")


def test_sessions_before_a_kill_are_remembered(tmp_path):
    run = RunDirectory(tmp_path / "s/a/fold0")
    with run.session({"task": "classification"}):
        run.begin({"device": "here"})
        running = run.status
    (run.path / "status.json").write_text(json.dumps(running))  # as a kill leaves it
    run.mark_failed("killed")
    assert (run.status["state"], run.status["error"], run.status["started"]) == ("failed", "killed", running["started"])
    run.mark_eliminated(after=2, leader="b", behind=0.1, chance=0.01)
    assert (run.status["state"], run.status["error"]) == ("eliminated", None)
    assert [session["device"] for session in run.status["sessions"]] == ["here"]


def test_what_a_callback_logs_later_ends_no_training(tmp_path):
    run = RunDirectory(tmp_path / "s/a/fold0")
    run.write_history([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "theirs": 3.0}])
    assert run.history == [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"chosen": []}'])
def test_a_verdict_that_is_none(content, pair, command):
    path = Path("runs/default/report/verdict.json")
    path.parent.mkdir()
    path.write_text(content)
    code, out, err = command(final.main, "study=default")
    assert (code, out) == (1, "")
    assert "error: runs/default/report/verdict.json is damaged (" in err
    assert "): compare the study first (cifar100x.compare study=default)" in err


@pytest.mark.parametrize("what", ["another program's", "without weights", "compressed", "one number for all"])
def test_a_checkpoint_that_no_run_wrote(what, pair, command, tmp_path):
    unseal(RUN)
    checkpoint = torch.load(RUN.checkpoint, weights_only=True)
    if what == "another program's":
        checkpoint["callbacks"] = Path("x")
    elif what == "without weights":
        del checkpoint["state_dict"]
    elif what == "one number for all":
        checkpoint["state_dict"] |= {"net.x": torch.zeros(1).expand(1 << 40)}
    torch.save(checkpoint, RUN.checkpoint)
    if what == "compressed":
        with zipfile.ZipFile(RUN.checkpoint) as old, zipfile.ZipFile("new", "w", zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                new.writestr(name, old.read(name))
        Path("new").replace(RUN.checkpoint)
    Image.new("RGB", (8, 8)).save("x.png")
    code, out, err = command(predict.main, str(RUN.path), "x.png")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {RUN.checkpoint} is damaged")
    assert err.endswith(": the command that trained this run makes it anew\n")


def test_what_a_killed_process_had_half_written_goes(train_command):
    """A checkpoint of the largest network has 1.8 GB."""
    half = RUN.path / "checkpoints/.last.ckpt.0123456789abcdef.partial"
    half.parent.mkdir(parents=True)
    half.touch()
    assert train_command(*TINY)[0] == 0
    assert [path.name for path in half.parent.iterdir()] == ["last.ckpt"]


def test_looks_are_taken_one_after_the_other(tmp_path, monkeypatch):
    """So that each is counted; a training does not wait, but says who is at it."""
    hand_made_study(tmp_path / "s", {"a": 0.3}, num_folds=2, images=10)
    run = Study(tmp_path / "s").run("a", 0)
    monkeypatch.setattr("cifar100x.runs.directory.LOCK_SECONDS", 0)
    ended = threading.Event()
    with (run.path / ".lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RunHeldError), run.session(run.config):
            pass
        threading.Timer(0.2, lambda: (ended.set(), fcntl.flock(other, fcntl.LOCK_UN))).start()
        with run.amending():
            assert ended.is_set()
    assert run.is_whole


def test_swapped_models_and_copies_are_found(pair, compare_command):
    for a, b in (("arch1-hyp1", "x"), ("arch2-hyp1", "arch1-hyp1"), ("x", "arch2-hyp1")):
        (Path("runs/default") / a).rename(Path("runs/default") / b)
    status, _, err = compare_command("study=default")
    assert status == 1
    assert "runs/default/arch1-hyp1/fold0 holds the files of the run arch2-hyp1/fold0: move them" in err
    shutil.rmtree("runs/default/arch2-hyp1")
    shutil.copytree("runs/default/arch1-hyp1", "runs/default/arch2-hyp1")
    shutil.copytree("runs/default/arch1-hyp1", "runs/default/mine")
    shutil.rmtree("runs/default/arch1-hyp1")
    status, _, err = compare_command("study=default")
    assert status == 1
    assert "runs/default/mine/fold0 holds the files of the run arch2-hyp1/fold0" in err


@pytest.mark.parametrize("sealed", [True, False])
def test_an_edited_accuracy_is_not_believed(sealed, pair, compare_command):
    path = RUN.path / "metrics.json"
    if not sealed:
        unseal(RUN)
    metrics = json.loads(path.read_text())
    metrics["val"]["accuracy"] = 0.99
    path.write_text(json.dumps(metrics))
    status, _, err = compare_command("study=default")
    assert status == 1
    said = "is not what the run finished with" if sealed else "says that 0.9900 are right, of its predictions 0."
    assert said in err


def test_a_backup_does_not_vote(pair, compare_command):
    shutil.copytree(RUN.path, RUN.path.with_name("fold0.bak"))
    assert [run.path.name for run in classifiers(RUN.path.parent)] == ["fold0", "fold1"]
    status, _, err = compare_command("study=default")
    assert status == 1
    assert "arch1-hyp1 has fold0.bak, but there are 2 folds: move it elsewhere" in err


def test_images_that_were_moved_from_one_split_to_the_other_are_other_images(train_command, cache):
    """Their fingerprint, which is of all together, is equal; but 90 images for testing are trained on."""
    images = [name for name in TINY if "per_class" not in name]
    assert train_command(*images, "data.train_per_class=2", "data.test_per_class=1", "trainer.max_epochs=1")[0] == 0
    (manifest,) = (
        p for p in cache.glob("*/manifest.json") if json.loads(p.read_text())["splits"] == {"train": 200, "test": 100}
    )
    moved = cache / "moved"
    shutil.copytree(manifest.parent, moved)
    found = json.loads(manifest.read_text())
    (moved / "manifest.json").write_text(json.dumps(found | {"splits": {"train": 290, "test": 10}}))
    try:
        status, _, err = train_command(*images, "data=cifar100", f"data.source={moved}", "trainer.max_epochs=1")
        assert status == 1
        assert "runs/default" in err
        assert "asks for others (2 of 290" in err or "data.num_train (200 there, 290 now)" in err
    finally:
        shutil.rmtree(moved)


@pytest.mark.parametrize("sealed", [True, False])
def test_a_flipped_bit_in_a_checkpoint_is_found(sealed, pair, train_command):
    before = RUN.predictions.logits
    content = bytearray(RUN.checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    RUN.checkpoint.write_bytes(content)
    if not sealed:
        unseal(RUN)
    with pytest.raises(UserError, match="is not what the run finished with" if sealed else "is damaged"):
        load_network(RUN, make_net)
    if sealed:
        status, _, err = train_command(*ONE)
        assert status == 0
        assert "last.ckpt was damaged, and is set aside as last.damaged: it starts again" in err
        np.testing.assert_array_equal(RUN.predictions.logits, before)
        assert RUN.is_whole


def test_the_same_command_makes_anew_what_a_study_has_lost(pair, train_command, compare_command):
    folds, plan = (Path("runs/default") / name for name in ("folds.npz", "sweep.json"))
    before = folds.read_bytes()
    for damage in (Path.unlink, lambda path: os.truncate(path, 10)):
        damage(folds)
        os.truncate(plan, 0)
        status, _, err = compare_command("study=default")
        assert (status, "the command that trained these runs makes it anew" in err) == (1, True)
        assert train_command(*PAIR)[0] == 0
        assert len(folds.read_bytes()) == len(before)
        assert len(json.loads(plan.read_text())["runs"]) == 4
    assert compare_command("study=default")[0] == 0


DAMAGES = {
    "predictions gone": lambda run: (run.path / "predictions.npz").unlink(),
    "predictions cut": lambda run: os.truncate(run.path / "predictions.npz", 100),
    "metrics gone": lambda run: (run.path / "metrics.json").unlink(),
    "metrics empty": lambda run: os.truncate(run.path / "metrics.json", 0),
    "history gone": lambda run: (run.path / "history.csv").unlink(),
    "history empty": lambda run: os.truncate(run.path / "history.csv", 0),
    "config gone": lambda run: (run.path / "config.yaml").unlink(),
    "classes gone": lambda run: (run.path / "classes.json").unlink(),
    "checkpoint gone": lambda run: run.checkpoint.unlink(),
    "checkpoint empty": lambda run: os.truncate(run.checkpoint, 0),
    "checkpoint cut": lambda run: os.truncate(run.checkpoint, run.checkpoint.stat().st_size // 2),
    "status empty": lambda run: os.truncate(run.path / "status.json", 0),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_same_command_makes_anew_what_a_finished_run_has_lost(damage, pair, train_command):
    before, curves = RUN.predictions.logits, RUN.history
    damage(RUN)
    status, out, _ = train_command(*ONE)
    assert status == 0
    assert not out.startswith("skipped")
    assert RUN.is_whole
    np.testing.assert_array_equal(RUN.predictions.logits, before)
    assert [row["epoch"] for row in RUN.history] == [row["epoch"] for row in curves]


def test_a_run_that_was_stopped_and_whose_checkpoint_was_cut_starts_again(train_command):
    """And both sessions are on record."""
    arguments = [*TINY, "trainer.max_epochs=3"]
    with signalled(signal.SIGTERM):
        status, _, err = train_command(*arguments)
    said = "error: stopped by SIGTERM: the same command goes on from the last checkpoint\n"
    assert (status, err) == (143, said)
    os.truncate(RUN.checkpoint, 1000)
    status, _, err = train_command(*arguments)
    assert status == 0
    assert err == f"note: {RUN.checkpoint} was damaged, and is set aside as last.damaged: it starts again\n"
    assert [row["epoch"] for row in RUN.history] == [1, 2, 3]
    first, second = RUN.metrics["sessions"]
    assert first["started"] <= second["started"]
    assert {"commit", "torch", "device", "threads"} <= first.keys() & second.keys()
