"""What users get wrong on the command line is one line, the nearest right name, and status 2."""

import errno
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from cifar100x.app.configs import CONF
from cifar100x.errors import user_message
from tests.conftest import TINY


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["modle=arch1"], "modle: no such key; did you mean 'model'?"),
        (["trainer.max_epoch=3"], "trainer.max_epoch: no such key; did you mean 'trainer.max_epochs'?"),
        (["max_epochs=3"], "max_epochs: no such key; did you mean 'trainer.max_epochs'?"),
        (["data=synthetic", "data.train_per_clas=3"], "did you mean 'data.train_per_class'?"),
        (["model=arc1"], "model=arc1: no such choice; did you mean 'arch1'?"),
        (["model=null"], "model=null: no such choice"),
        (["reading=writen"], "reading=writen: no such choice; did you mean 'written'?"),
        (["-m", "model=arch1,arch9"], "model=arch9: no such choice"),
        (["-m", "model=arch1,arch2", "fld=0,1"], "fld: no such key with model=arch1; did you mean 'fold'?"),
        (["fold=first"], "fold is 'first', expected an integer or null"),
        (["reading=keep80", "recipe=modern"], "reading=keep80, but recipe=modern has a reading of its own: leave it"),
        (["name=../x"], "name is '../x', expected"),
        (["fold=["], "cannot read 'fold=['"),
        (["+trainer.max_epoch=3"], "trainer.max_epoch: no such key; did you mean 'trainer.max_epochs'?"),
        (["++foo=3"], "foo: no such key; did you mean 'fold'?"),
        (["width=1"], "width=1: no such choice; expected hyp1 or hyp2 or hyp3"),
        (["-m", "width=1,2"], "width=1: no such choice; expected hyp1 or hyp2 or hyp3"),
        (["recipe=true"], "recipe=True: no such choice; expected modern or paper"),
        (["fold=0,1"], "fold=0,1: several values are a sweep, of cifar100x.train alone: add -m"),
        (["arch2"], "cannot read 'arch2': expected key=value"),
        (["data.source=x(1).tar"], "quote the value, as in data.source='\"x(1).tar\"'"),
        (["~fold"], "fold: cannot be taken away"),
        (["-m", "+trainer.max_epoch=3", "fold=0,1"], "trainer.max_epoch: no such key; did you mean 'trainer.max_ep"),
        (["trainer.max_epochs=ten"], "trainer.max_epochs is 'ten', expected an integer"),
        (["learning_rate=fast"], "learning_rate is 'fast', expected a number"),
        (["model=transfer", "width=hyp2"], "width=hyp2: the model that is chosen takes no width"),
        (["model=autoencoder", "reading=keep80"], "reading=keep80: the model that is chosen takes no reading"),
        (["-m", "candidate=arch1-hyp1,t-arch1", "width=hyp2"], "width=hyp2: the model that is chosen takes no width"),
        (["-m", "--cfg", "job"], "--cfg and --info show the config of one run: leave out -m"),
        (["--config-dir", "nowhere"], "nowhere, named as a folder of configs, is not there"),
        (["--modle"], "unrecognized arguments: --modle"),
        (["task=guessing"], "task is 'guessing', expected classification or pretraining"),
        (["task=pretraining"], "task=pretraining, but arch1-hyp1 is no autoencoder: leave the task to the model"),
        (["=1"], "cannot read '=1': expected key=value"),
        (["+experiment=demo"], "experiment is chosen twice, or with a + though it is there already"),
        (["~model", "-m"], "~model: no such choice"),
        (["callbacks=nope"], "callbacks=nope: no such choice: there is no callbacks/nope.yaml among configs"),
        (["model=timm"], "model.net.model_name is not given, expected model.net.model_name=VALUE"),
        (["fold=true"], "fold is True, expected an integer or null"),
        (["--experimental-rerun", "x"], "here every run goes on by itself"),
        (["launch=cores"], "launch says how a sweep is spread: add -m"),
        (["-m", "fold=0,1", "launch=cores,gpus"], "launch has several values in one sweep"),
    ],
)
def test_mistyped(arguments, message, train_command):
    status, out, err = train_command(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not Path("runs").exists()


def test_a_tilde_is_the_home_folder(train_command, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    status, _, err = train_command("data.source=~/absent.tar.gz")
    assert (status, f"{tmp_path}/home/absent.tar.gz does not exist" in err) == (1, True)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("+model.net.filtres=[1]", "model.net.filtres: ConvNet takes no such argument; did you mean 'filters'?"),
        ("+data.draw_sed=1", "data.draw_sed: open_store takes no such argument; did you mean 'draw_seed'?"),
        ("model.net.convs_per_block=two", "model.net.convs_per_block is 'two', expected an integer"),
        ("model.net._target_=builtins.dict", "dict does not tell which arguments it takes, expected one that does"),
        (
            "logger.tensorboard.folder='{run.id}'",
            "logger.tensorboard.folder is '{run.id}', expected none in braces but "
            "{folder}, {study}, {candidate}, {run}",
        ),
        ("model.net._target_=torch.pi", "model.net._target_: torch.pi is a float, expected a class or function"),
    ],
)
def test_arguments_of_what_is_made(argument, message, train_command):
    status, out, err = train_command(*TINY, argument)
    assert (status, out) == (2, "")
    assert err == f"error: {message}\n"
    assert not Path("runs").exists()


def test_version(train_command):
    status, out, err = train_command("--version")
    versions = [
        f"{package} {metadata.version(package)}" for package in ("cifar100x", "torch", "lightning", "hydra-core")
    ]
    assert (status, out, err) == (0, ", ".join(versions) + "\n", "")


def test_a_mistyped_key_beside_no_logger(train_command):
    status, _, err = train_command(*TINY, "logger=[]", "trainer.max_epoch=3")
    assert (status, err) == (2, "error: trainer.max_epoch: no such key; did you mean 'trainer.max_epochs'?\n")


def test_a_list_where_a_number_belongs(train_command):
    status, out, err = train_command(*(a for a in TINY if "width" not in a), "width.multiplier=[1,2]")
    assert (status, out, err) == (1, "", "error: width.multiplier is [1, 2], expected a number\n")


def test_a_mistyped_key_in_a_users_own_config(train_command, tmp_path):
    """Found in a config folder of their own, and by the same line."""
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "quick.yaml").write_text("# @package _global_\ntrainer:\n  max_epoch: 1\n")
    status, _, err = train_command("--config-dir", "mine", "experiment=quick", "data=synthetic")
    assert (status, err) == (2, "error: trainer.max_epoch: no such key; did you mean 'trainer.max_epochs'?\n")
    status, _, err = train_command("--config-dir", "mine", "experiment=quik", "data=synthetic")
    assert (status, err) == (2, "error: experiment=quik: no such choice; did you mean 'quick'?\n")


def test_choices_of_hydra_s_own_search_path_are_offered(train_command, tmp_path):
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "quick.yaml").write_text("# @package _global_\n# A quick one.\ntrainer:\n  max_epochs: 1\n")
    path = f"hydra.searchpath=[file://{tmp_path / 'mine'}]"
    assert train_command(*TINY, path, "experiment=quick")[0] == 0
    assert "did you mean 'quick'?" in train_command(*TINY, path, "experiment=quik")[2]
    assert "A quick one." in train_command(path, "--help")[1]


def test_help_shows_what_a_user_can_choose(train_command, tmp_path):
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "own.yaml").write_text("# A network of my own.\nname: own\n")
    status, out, err = train_command("--config-dir", "mine", "--help")
    assert (status, err) == (0, "")
    assert "schema" not in out
    assert "longest_first" not in out
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    assert ["own", "A network of my own."] in lines
    assert ["arch1*", "Architecture 1 of the paper (section III.A): one convolution a block."] in lines
    assert ["fold=0", "which one is held out; cifar100x.final trains with none"] in lines
    choices = [path for path in CONF.glob("*/*.yaml") if path.parent.name != "hydra"]
    assert len(choices) > 20
    for path in choices:
        explained = [line[1:] for line in lines if line and line[0].rstrip("*") == path.stem]
        assert explained, path
        assert all(explained), f"{path} has no comment that says what it decides"


LIGHT = """
import sys
sys.argv = ["", *sys.argv[1:]]
from cifar100x.train import main
try:
    main()
except SystemExit as error:
    print(error.code, sorted({"torch", "lightning", "torchvision", "scipy", "matplotlib"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["modle=arch1"], ["fold=first"], ["+trainer.max_epoch=3"], ["-m", "fold=0,first"], ["-m", "fld=0,1"]],
)
def test_nothing_heavy_is_imported_before_the_command_line_is_checked(arguments, tmp_path):
    shell = [sys.executable, "-c", f"{LIGHT}else:\n    print(0, sorted({{'torch'}} & set(sys.modules)))", *arguments]
    result = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == ("0 []" if arguments == ["--help"] else "2 []")


def test_missing_study(compare_command):
    assert compare_command() == (2, "", "error: study is not given, expected study=VALUE\n")
    error = "error: data=synthetic: cifar100x.compare takes no data\n"
    assert compare_command("study=s", "data=synthetic") == (2, "", error)


def test_from_a_real_shell(tmp_path):
    shell = [sys.executable, "-m", "cifar100x.status", "stduy=demo"]
    result = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == "error: stduy: no such key; did you mean 'study'?\n"


def test_a_file_that_may_not_be_read_is_not_told_as_a_full_disk():
    message = user_message(PermissionError(errno.EACCES, "Permission denied", "/data/images.tar"))
    assert message == "no permission for /data/images.tar: change its owner or mode, or name another place"
    assert "free the disk" in user_message(OSError(errno.ENOSPC, "No space left on device", "x"))


@pytest.mark.parametrize("read_on", [True, False])
def test_a_broken_pipe_is_told_unless_it_is_that_of_the_output(read_on, tmp_path):
    """As of a logger's own connection; nobody who looks at the output any more wants to hear of it."""
    program = (
        "import sys, time\nfrom cifar100x.app.command import one_line_errors\n"
        "with one_line_errors():\n    sys.stdin.read()\n    raise BrokenPipeError(32, 'Broken pipe')"
    )
    shell = [sys.executable, "-c", program]
    process = subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if not read_on:
        process.stdout.close()
    process.stdin.close()
    err = process.stderr.read()
    assert (process.wait(), "BrokenPipeError" in err) == ((1, True) if read_on else (128 + signal.SIGPIPE, False))
