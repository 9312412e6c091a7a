"""What --help says, read from the comments in conf/: each choice and key is explained where it is made."""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import yaml

from cifar100x.app.configs import CONF, groups

WIDTH = 110
USAGE = {"train": "[-m] [group=choice ...] [key=value ...]"}


def help_text(name: str, folders: Sequence[Path]) -> str:
    """What a command does, the choices of each group with their first comment line, and all other keys.

    Args:
        name: of the command's config.
        folders: of configs, the user's first.
    """
    primary = CONF / f"{name}.yaml"
    chosen = defaults(primary)
    if "model" in chosen:  # its model brings further groups
        chosen |= defaults(CONF / "model" / f"{chosen['model']}.yaml")
    parts = [f"{about(primary)}\n", f"python -m cifar100x.{name} {USAGE.get(name, '[key=value ...]')}"]
    for group, choices in groups(folders).items():
        if group in chosen:
            parts.append(f"\n{group}")
            usual = chosen.get(group)
            usual = usual if isinstance(usual, list) else [str(usual)]
            parts += [_row(choice + "*" * (choice in usual), about(file)) for choice, file in choices.items()]
    parts.append("\nkeys")
    parts += [_row(key, what) for key, what in _keys(primary)]
    parts.append("\n* unless another is named. --cfg job prints every key of a run, those of the groups too.")
    return "\n".join(parts)


def about(file: Path) -> str:
    """The first comment of a config file."""
    text = file.read_text(errors="replace")  # it may be a user's own
    comments = (line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    return next((comment for comment in comments if not comment.startswith("@package")), "")


def defaults(primary: Path) -> dict[str, str | list[str] | None]:
    """Which choice of each group, or which choices, a config makes by itself."""
    listed = yaml.safe_load(primary.read_text())["defaults"]
    return {
        group.removeprefix("/"): choice
        for entry in listed
        if isinstance(entry, dict)
        for group, choice in entry.items()
    }


def _keys(primary: Path) -> list[tuple[str, str]]:
    """The keys of a config with their values and comments."""
    found, branch = [], ""
    for line in primary.read_text().split("\nhydra:")[0].splitlines():
        if match := re.match(r"(\s*)(\w+):\s*([^#]*?)\s*(?:#\s*(.*))?$", line):
            indent, key, value, comment = match.groups()
            branch = branch if indent else ""
            if key == "defaults":
                continue
            if not indent and not value:
                branch = f"{key}."
            else:
                found.append((f"{branch}{key}={value}", comment or ""))
    return found


def _row(left: str, right: str) -> str:
    lines = textwrap.wrap(right, WIDTH - 32) or [""]
    first = f"  {left:<28}  " if len(left) <= 28 else f"  {left}\n{'':32}"
    return (first + f"\n{'':32}".join(lines)).rstrip()
