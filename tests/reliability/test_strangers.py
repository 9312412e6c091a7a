"""Studies that somebody handed over: what they name is neither believed, nor followed, nor shown as it is."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from cifar100x import compare, final, probe, status
from cifar100x.disk.writing import put_in_place, replacing, write_json
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.study import Study
from tests.conftest import TINY, unseal
from tests.test_study import hand_made_study

NAMES = ("../../x", "a/b", "", "x" * 300, "[bold]", "$\\frac$", "\x1b[31m", ".hidden")


@pytest.mark.parametrize("name", NAMES)
def test_a_study_has_the_name_of_a_folder(name, command):
    code, out, err = command(status.main, f'study="{name}"'.replace("$", "\\$"))
    assert (code, out) == (2, "")
    assert "\x1b" not in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["[bold]", "$\\frac$", "\x1b[31mred"])
def test_strange_folders_of_a_study_are_told(name, command, tmp_path):
    run = RunDirectory(Path("runs/s") / name / "fold0")
    with run.session({"task": "classification", "name": name, "fold": 0}):
        pass
    code, _, err = command(compare.main, "study=s")
    assert code == 1
    assert "expected at most 100 of A-Z, a-z, 0-9 and" in err
    assert "\x1b" not in err


def test_what_would_steer_a_terminal_is_spelt_out(command):
    run = Study(Path("runs/s")).run("arch1", 0)
    run.mark_failed("\x1b[2J[bold]nothing to see here")
    Study(Path("runs/s")).add_to_plan("go on [bold]", {"arch1/fold0": {"epochs": 1, "flops": 1.0}})
    code, out, _ = command(status.main, "study=s")
    assert code == 0
    assert "\\x1b[2J[bold]nothing to see here" in out
    assert "go on with: go on [bold]" in out


def test_images_are_neither_fetched_nor_built(compared_study, command, monkeypatch, tmp_path):
    """A study whose images are not here, but whose configs say where they might be had."""
    shutil.copytree(compared_study / "runs", "runs")
    hostile = {"_target_": "cifar100x.data.cifar100.open_store", "name": "cifar100", "fingerprint": "f" * 64,
               "mirrors": ["https://example.org/images.tar.gz"], "source": None, "md5": "0"}  # fmt: skip
    for run in Study(Path("runs/default")).all_runs():
        unseal(run)
        config = yaml.safe_load((run.path / "config.yaml").read_text())
        config |= {"cache": str(tmp_path / "theirs"), "data": {**config["data"], **hostile}}
        (run.path / "config.yaml").write_text(yaml.safe_dump(config))
        metrics = json.loads((run.path / "metrics.json").read_text())
        metrics["data"]["fingerprint"] = "f" * 64
        (run.path / "metrics.json").write_text(json.dumps(metrics))
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: asked.append(host) or [])
    assert command(compare.main, "study=default")[0] == 0
    code, _, err = command(final.main, "study=default")
    assert code == 1
    assert "the images that these runs were trained on, ffffffffffff, are not among the stores in" in err
    code, _, err = command(probe.main, "study=default")
    assert (code, "there is no pre-training in runs/default/autoencoder" in err) == (1, True)
    assert asked == []
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize("arguments", [["status", "study=s"], ["train", "data=synthetic", "--cfg", "job"]])
def test_modules_that_lie_about_are_not_imported(arguments, tmp_path):
    """Hydra imports all that lies in a folder `hydra_plugins`; modules of the folder shadow no others."""
    (tmp_path / "hydra_plugins").mkdir()
    for name in ("hydra_plugins/evil.py", "yaml.py", "rich.py"):
        (tmp_path / name).write_text("import pathlib\npathlib.Path('imported').touch()\nraise SystemExit(7)")
    command = [sys.executable, "-m", f"cifar100x.{arguments[0]}", *arguments[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == (1 if arguments[0] == "status" else 0), done.stderr
    assert not (tmp_path / "imported").exists()


def test_files_are_not_written_through_links(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    for name in ("report.html", "report.html.partial", ".report.html.partial"):
        (tmp_path / name).symlink_to(theirs)
    with replacing(tmp_path / "report.html") as file:
        file.write("ours")
    assert theirs.read_text() == "theirs"
    assert not (tmp_path / "report.html").is_symlink()


@pytest.mark.parametrize("name", ["log.txt", "checkpoints"])
def test_a_run_that_has_links_is_not_gone_on_with(name, train_command, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir() if name == "checkpoints" else theirs.touch()
    run = Path("runs/s/arch1-hyp1/fold0")
    run.mkdir(parents=True)
    (run / name).symlink_to(theirs)
    for arguments in (["study=s"], ["-m", "study=s", "learning_rate=1e15"]):
        code, out, err = train_command(*TINY, *arguments)
        assert (code, out) == (1, "")
        assert f"{run / name} is a link, expected a file or folder of the run itself: put that in its place" in err
    assert (list(theirs.iterdir()) if theirs.is_dir() else theirs.read_text() or []) == []


def test_links_among_a_logger_s_own_files_are_no_harm(train_command):
    """As W&B leaves them in the folder that it is given."""
    assert train_command(*TINY, "study=s")[0] == 0
    folder = Path("runs/s/arch1-hyp1/fold0/wandb")
    (folder / "run-1").mkdir(parents=True)
    (folder / "latest-run").symlink_to("run-1")
    status, out, err = train_command(*TINY, "study=s")
    assert (status, err) == (0, "")
    assert out.startswith("skipped, already finished")


def test_a_link_in_place_of_a_file_is_not_read_and_others_are_told_of(command, compare_command, tmp_path):
    hand_made_study(tmp_path / "runs/s", {"a": 0.3, "b": 0.4}, num_folds=2, images=50)
    study = Study(tmp_path / "runs/s")
    study.add_to_plan("python -m cifar100x.train", {f"{m}/fold0": {"epochs": 1, "flops": 1.0} for m in "ab"})
    file = study.run("a", 0).path / "metrics.json"
    file.rename(tmp_path / "metrics.json")
    file.symlink_to(tmp_path / "metrics.json")
    code, _, err = compare_command("study=s")
    assert (code, "metrics.json is a link" in err) == (1, True)
    code, out, err = command(status.main, "study=s")
    assert (code, err) == (0, "")
    assert "a fold 0 failed: runs/s/a/fold0/metrics.json is a link" in out
    assert "s: 1 done, 1 failed" in out


def test_what_must_outlive_a_power_cut_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Every file of a folder, the folder itself, its new name, the folder that holds the name: in this order."""
    done: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(Path(f"/proc/self/fd/{fd}").readlink().name), sync(fd)))
    monkeypatch.setattr(os, "replace", lambda old, new: (done.append("renamed"), replace(old, new)))
    partial = tmp_path / "all" / "partial"
    partial.mkdir(parents=True)
    (partial / "images.npy").touch()
    put_in_place(partial, tmp_path / "all" / "store")
    assert done == ["images.npy", "partial", "renamed", "all"]
    done.clear()
    write_json(tmp_path / "all" / "file.json", {})
    assert done[0].startswith(".file.json.")
    assert done[1:] == ["renamed", "all"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "file.json"
    whole = [{"writer": number, "said": "x" * 100_000} for number in range(4)]

    def write(content):
        for _ in range(20):
            write_json(path, content)

    writers = [threading.Thread(target=write, args=(content,)) for content in whole]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            assert json.loads(path.read_text()) in whole
    for writer in writers:
        writer.join()
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]
