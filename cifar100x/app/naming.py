"""The name of a candidate, which is a network with all that trains it, and where its results go."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cifar100x.errors import UsageError
from cifar100x.runs import identity
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.study import NAME, OF_NAMES, PRETRAINING, RESERVED, Study

SUFFIXES = {"reading": "reported", "recipe": "paper"}
"""Groups whose choice is part of the name, each with the choice that is not worth saying."""


def name_of(config: Mapping[str, Any]) -> str:
    """The name that was chosen, or the model's with a suffix for each group that is not at its default.

    Raises:
        UsageError: it cannot be the name of a folder in a study.
    """
    if config.get("name"):
        return _checked(config["name"], config["task"])
    choices = [str(config.get(group, {}).get("name", usual)) for group, usual in SUFFIXES.items()]
    suffixes = list(
        dict.fromkeys(choice for choice, usual in zip(choices, SUFFIXES.values(), strict=True) if choice != usual)
    )
    encoder = str(config["model"].get("encoder") or PRETRAINING)
    if is_name(encoder) and encoder != PRETRAINING:
        suffixes.append(encoder)
    return _checked("-".join([str(config["model"]["name"]), *suffixes]), config["task"])


def is_name(encoder: str) -> bool:
    """Whether an encoder is named by its study and not by its place."""
    return "/" not in encoder


def encoder_path(config: Mapping[str, Any]) -> Path | None:
    """Where the encoder of a model lies, if it stands on one."""
    encoder = config["model"].get("encoder")
    if encoder is None:
        return None
    encoder = str(encoder)  # a name may be a number
    return Path(config["runs"], config["study"], encoder) if is_name(encoder) else Path(encoder)


def place(config: Mapping[str, Any], study: Study) -> tuple[RunDirectory, str]:
    """Where the results of a config go, and what the run is called."""
    name, fold = config["name"], config.get("fold")
    if config["task"] == "pretraining":
        return study.pretraining(name), name
    if fold is None:
        return study.final, f"{name} on all images"
    return study.run(name, fold), f"{name} fold {fold}"


def earlier_name(config: Mapping[str, Any], study: Study) -> str:
    """The name of a config, or the model's alone where an earlier version, which knew no other, has begun the run."""
    name, plain = config["name"], config["model"]["name"]
    fold = config.get("fold")
    if name == plain or fold is None or study.run(name, fold).config:
        return name
    there = study.run(plain, fold).config
    if not there or name_of(there | {"name": None}) != name:  # it has the name that it should have
        return name
    return name if identity.differing(identity.of_run(there), identity.of_run(config)) else plain


def _checked(name: str, task: str) -> str:
    reserved = [taken for taken in RESERVED if not (taken == PRETRAINING and task == "pretraining")]
    if name in reserved or not NAME.fullmatch(name):
        raise UsageError(
            f"name is {name[:120]!r}, expected {OF_NAMES} (a folder of the study), and none of {', '.join(reserved)}"
        )
    return name


def study_named(runs: str, name: str) -> Study:
    """A study by its name, which need not exist.

    Raises:
        UsageError: it cannot be the name of a folder.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"study is {name[:120]!r}, expected {OF_NAMES} (a folder in {runs})")
    return Study(Path(runs, name))
