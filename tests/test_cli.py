"""What users get wrong on the command line is one line, the nearest right name, and status 2."""

import subprocess
import sys
from pathlib import Path

import pytest


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
        (["-m", "model=arch1,arch2", "fld=0,1"], "fld: no such key; did you mean 'fold'?"),
        (["fold=first"], "fold: Value 'first' of type 'str' could not be converted to Integer"),
        (["fold=["], "no viable alternative"),
    ],
)
def test_mistyped(arguments, message, train_command):
    status, out, err = train_command(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not Path("runs").exists()


def test_missing_study(compare_command):
    status, _, err = compare_command()
    assert status == 2
    assert "study" in err
    assert len(err.splitlines()) == 1


def test_from_a_real_shell(tmp_path):
    shell = [sys.executable, "-m", "cifar100x.status", "stduy=demo"]
    result = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == "error: stduy: no such key; did you mean 'study'?\n"
