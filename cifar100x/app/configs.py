"""The folder of the configs, what its groups offer, and a composed config as plain containers."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict

from cifar100x.app.arguments import nearest
from cifar100x.errors import UsageError

PACKAGE = Path(__file__).parents[1]
CONF = next(folder for folder in (PACKAGE / "conf", PACKAGE.parent / "conf") if folder.is_dir())
"""Inside the package when installed from a wheel, beside it in a checkout."""

CHECKED = ("trainer.", "logger.", "callbacks.")  # what is added there is held against Lightning's own by who takes it
HIDDEN = ("hydra",)  # groups that are ours and no user's


def groups(folders: Sequence[Path]) -> dict[str, dict[str, Path]]:
    """The choices of every config group and their files; one of an earlier folder hides its namesake in a later."""
    found: dict[str, dict[str, Path]] = {}
    for folder in folders:
        for group in sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in HIDDEN):
            for file in group.rglob("*.yaml"):
                choice = file.relative_to(group).with_suffix("").as_posix()
                found.setdefault(group.name, {}).setdefault(choice, file)
    return {group: dict(sorted(choices.items())) for group, choices in found.items()}


def plain(composed: DictConfig) -> dict[str, Any]:
    """A composed config as plain containers, every interpolation resolved, without Hydra's own part.

    Raises:
        OmegaConfBaseException: a key has no value, or refers to one that does not exist.
    """
    with open_dict(composed):
        composed.pop("hydra", None)
        for choice in ("candidate", "experiment"):  # they leave an empty key where Hydra puts what was not chosen
            composed.pop(choice, None)
        if "${reading." not in OmegaConf.to_yaml(composed):  # a recipe names one for the networks that take one
            composed.pop("reading", None)
        if "divergence" in composed:  # and an experiment a sparsity for the autoencoders that take one
            composed.pop("sparsity", None)
    return OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def keys(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """All dotted keys, those of branches too."""
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from keys(value, f"{prefix}{key}.")


def check_added(overrides: Sequence[Override], config: Mapping[str, Any], groups: Collection[str]) -> None:
    """Look at what overrides add to a config or take away, which Hydra lets pass.

    Args:
        overrides: of a command line.
        config: that they made.
        groups: names of the config groups, which may be added and taken away.

    Raises:
        UsageError: a key is added where nobody reads it, or taken away where it is needed.
    """
    for override in overrides:
        key = override.key_or_group
        if key in groups or key.startswith(("hydra.", *CHECKED)) or _takes_any(config, key):
            continue
        if override.is_delete():
            raise UsageError(f"{key}: cannot be taken away")
        if override.is_add():
            raise UsageError(nearest(f"{key}: no such key", key, [other for other in keys(config) if other != key]))


def check_reading(overrides: Sequence[Override], configs: Sequence[Mapping[str, Any]]) -> None:
    """Raise UsageError for a reading that was chosen for runs whose recipes all have one of their own."""
    recipes, readings = ([config.get(group, {}).get("name") for config in configs] for group in ("recipe", "reading"))
    for override in overrides:
        if override.key_or_group == "reading" and readings == recipes:
            raise UsageError(
                f"{override.input_line}, but recipe={recipes[0]} has a reading of its own: leave it out, or change "
                "what should differ, as with reading.dropout=0.8"
            )


def is_value(override: Override, groups: Collection[str]) -> bool:
    """Whether an override gives a key another value and changes nothing else."""
    key = override.key_or_group
    return override.type == OverrideType.CHANGE and key not in groups and not key.startswith("hydra.")


def _takes_any(config: Mapping[str, Any], key: str) -> bool:
    """Whether a key lies below a `_target_`, whose arguments are checked when it is made."""
    node: Any = config
    for name in key.split(".")[:-1]:
        node = node.get(name) if isinstance(node, Mapping) else None
        if isinstance(node, Mapping) and "_target_" in node:
            return True
    return False


OmegaConf.register_new_resolver("if", lambda condition, then, otherwise: then if condition else otherwise, replace=True)
