"""What a candidate is called, and what it may not be called."""

from pathlib import Path

import pytest

from cifar100x.app.naming import name_of
from cifar100x.errors import UsageError
from cifar100x.runs.directory import RunDirectory
from tests.conftest import TINY, TINY_PRETRAINING


def config(**changes):
    return {"task": "classification", "model": {"name": "arch1-hyp1"}, "reading": {"name": "reported"}, **changes}


def test_choices_that_are_not_the_default_are_part_of_the_name():
    assert name_of(config()) == "arch1-hyp1"
    assert name_of(config(reading={"name": "keep80"})) == "arch1-hyp1-keep80"
    assert name_of(config(learning_rate=3.0)) == "arch1-hyp1", "single values never enter by themselves"
    assert name_of(config(reading={"name": "keep80"}, name="mine")) == "mine"
    model = {"name": "t-arch2", "encoder": "ae-mean"}
    assert name_of(config(model=model)) == "t-arch2-ae-mean"
    assert name_of(config(model=model | {"encoder": "autoencoder"})) == "t-arch2"
    assert name_of(config(model=model | {"encoder": "/data/other"})) == "t-arch2"


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "report", "final", "autoencoder", ".hidden", "a b", "-x", "study.json"]
)
def test_names_that_are_no_folder_of_a_study(name):
    with pytest.raises(UsageError, match="expected at most 100 of A-Z, a-z, 0-9 and"):
        name_of(config(name=name))
    assert name_of({"task": "pretraining", "model": {"name": "autoencoder"}}) == "autoencoder"


def test_readings_and_values_in_one_study(train_command, compare_command):
    sweep = ["-m", "reading=reported,keep80", "fold=0,1", "trainer.max_epochs=1"]
    assert train_command(*TINY, *sweep)[0] == 0
    values = ["-m", "learning_rate=0.001", "fold=0,1", "trainer.max_epochs=1", "name=lr${learning_rate}"]
    assert train_command(*TINY, *values)[0] == 0
    names = sorted(path.name for path in Path("runs/default").iterdir() if path.is_dir())
    assert names == ["arch1-hyp1", "arch1-hyp1-keep80", "lr0.001"]
    status, out, err = compare_command("study=default")
    assert (status, err) == (0, "")
    assert "What differs besides the network" in out
    assert RunDirectory(Path("runs/default/lr0.001/fold0")).metrics["model"] == "lr0.001"


def test_a_name_is_kept_where_another_run_would_give_the_same(train_command):
    """The second time by a chosen name, then by that of an encoder with the same weights."""
    assert train_command(*TINY, "trainer.max_epochs=1")[0] == 0
    assert train_command(*TINY, "trainer.max_epochs=1", "name=mine")[0] == 0
    assert RunDirectory(Path("runs/default/mine/fold0")).metrics["model"] == "mine"
    for name in ("autoencoder", "same"):
        assert train_command(*TINY_PRETRAINING, "trainer.max_epochs=1", f"name={name}")[0] == 0
    encoders = ["model=transfer", "model.frozen=true", "model.encoder=autoencoder,same"]
    assert train_command(*TINY, "-m", *encoders, "trainer.max_epochs=1")[0] == 0
    assert {path.name for path in Path("runs/default").glob("t-arch2*")} == {"t-arch2", "t-arch2-same"}
