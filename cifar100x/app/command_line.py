"""What a user typed, and what to say of it where Hydra cannot make a config of it."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cifar100x.app.arguments import nearest
from cifar100x.app.configs import CONF, groups, is_value, keys
from cifar100x.app.help import defaults
from cifar100x.errors import UsageError

NO_TEXT = re.compile(r"[-+]?\d[\d._e+-]*|true|false", re.IGNORECASE)
"""What Hydra reads as a number, or as true or false, which no choice is."""


class CommandLine:
    """What a user typed.

    Args:
        arguments: without the program.
        config_name: of the command.

    Raises:
        UsageError: Hydra cannot read it.
    """

    def __init__(self, arguments: Sequence[str], config_name: str):
        self.config_name = config_name
        parser = get_args_parser()
        parser.error = _refuse  # type: ignore[method-assign]
        typed = [a for a in arguments if not a.startswith("-") and ("=" in a or a.startswith("~"))]
        flags = [argument for argument in arguments if argument not in typed]
        self.flags = parser.parse_args([*flags, *typed])  # it takes them in this order only
        if self.flags.experimental_rerun:
            _refuse("--experimental-rerun is Hydra's, and here every run goes on by itself")
        if self.flags.multirun and (self.flags.cfg or self.flags.info):
            raise UsageError("--cfg and --info show the config of one run: leave out -m and name one value of each key")
        if self.flags.multirun and config_name != "train":
            raise UsageError(
                f"-m sweeps over runs of cifar100x.train; cifar100x.{config_name} takes one study at a time"
            )
        self.flags.overrides = [_from_home(typed) for typed in self.flags.overrides]
        self.overrides = [_parsed(typed) for typed in self.flags.overrides]
        chosen = defaults(CONF / f"{config_name}.yaml")
        self.overrides = [o for o in self.overrides if not _is_no_choice(o, chosen)]
        self.flags.overrides = [str(override.input_line) for override in self.overrides]
        for folder in self.folders:
            if not folder.is_dir():
                raise UsageError(f"{folder}, named as a folder of configs, is not there")
        offered = groups(self.folders)
        for override in self.overrides:  # Hydra's own words are about its insides
            group = override.key_or_group
            if group in offered and override.value() is None and chosen.get(group, group) is not None:
                raise UsageError(nearest(f"{override.input_line}: no such choice", "", list(offered[group])))
        for group, choices in self._of_groups(offered).items():
            for choice in filter(NO_TEXT.fullmatch, choices):
                raise UsageError(nearest(f"{group}={choice}: no such choice", choice, list(offered[group])))
        if self.flags.multirun:  # Hydra would give a single value to the default model as well, which may not have it
            self.flags.overrides = [
                _of_each_run(override) if is_value(override, offered) else override.input_line
                for override in self.overrides
            ]

    @property
    def folders(self) -> list[Path]:
        """Where configs lie, the user's first: by --config-dir or hydra.searchpath."""
        named = [self.flags.config_dir] if self.flags.config_dir else []
        for override in self.overrides:
            places = override.value()
            if override.key_or_group == "hydra.searchpath" and isinstance(places, list):
                named += [str(place) for place in places if not str(place).startswith("pkg://")]
        return [*(Path(place.removeprefix("file://")) for place in named), CONF]

    def explain(self, error: BaseException) -> str:
        """What to say of an error of Hydra's: the key or choice that is wrong and the nearest one, if that is it."""
        offered = {group: list(choices) for group, choices in groups(self.folders).items()}
        of_groups = self._of_groups(offered)
        for group, choices in of_groups.items():
            for choice in choices:
                if choice not in offered[group] and choice != "null":
                    return nearest(f"{group}={choice}: no such choice", choice, offered[group])
        if (found := re.search(r"Could not override '(\w+)'", str(error))) and found[1] in of_groups:
            who = "the model that is chosen" if self.config_name == "train" else f"cifar100x.{self.config_name}"
            return f"{found[1]}={','.join(of_groups[found[1]])}: {who} takes no {found[1]}"
        try:
            known = self._keys([f"{group}={choices[0]}" for group, choices in of_groups.items() if choices])
        except (HydraException, OmegaConfBaseException):
            return first_line(error)
        for override in self.overrides:
            key = override.key_or_group
            if key in defaults(CONF / f"{self.config_name}.yaml") and key not in offered:
                return f"{override.input_line}: no such choice: there is no {key}/{override.value()}.yaml among configs"
            if not (override.is_add() or override.is_delete() or key.startswith("hydra") or key in known):
                return nearest(f"{key}: no such key", key, known)
        return first_line(error)

    def _of_groups(self, offered: Collection[str]) -> dict[str, list[str]]:
        """What was chosen of each group, as it was typed."""
        return {o.key_or_group: _choices(o) for o in self.overrides if o.key_or_group in offered and not _is_glob(o)}

    def _keys(self, choices: list[str]) -> list[str]:
        path = [f"hydra.searchpath=[{','.join(f'file://{folder.absolute()}' for folder in self.folders[:-1])}]"]
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            known = hydra.compose(self.config_name, [*choices, *(path if self.folders[:-1] else [])])
        return [*keys(OmegaConf.to_container(known, resolve=False)), *groups(self.folders)]  # type: ignore[arg-type]


def _from_home(typed: str) -> str:
    """The same with the home folder for a ~ behind the equals sign, where a shell leaves it."""
    key, equals, value = typed.partition("=")
    return f"{key}={Path(value).expanduser()}" if equals and value.startswith("~/") else typed


def _parsed(typed: str) -> Override:
    """One argument, read as Hydra reads it."""
    try:
        override = OverridesParser.create().parse_override(typed)
        if not override.key_or_group:
            raise HydraException
        return override
    except HydraException as error:
        key, equals, value = typed.partition("=")
        remedy = f"quote the value, as in {key}='\"{value}\"'" if key and equals else "expected key=value"
        raise UsageError(f"cannot read {typed[:200]!r}: {remedy}") from error


def first_line(error: BaseException) -> str:
    """Hydra's and OmegaConf's messages as one line, with the value and key they speak of."""
    if found := re.match(r"Ambiguous value for argument '(.*)'", str(error)):
        return f"{found[1]}: several values are a sweep, of cifar100x.train alone: add -m"
    if found := re.search(r"Missing mandatory value: ([\w.]+)", str(error)):
        return f"{found[1]} is not given, expected {found[1]}=VALUE"
    if found := re.match(r"Multiple values for (\w+)", str(error)):
        return f"{found[1]} is chosen twice, or with a + though it is there already: name it once, without the +"
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    key = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("full_key:")), None)
    message = re.sub(r"\s+", " ", lines[0] if lines else type(error).__name__)
    return f"{key}: {message}" if key else message


def _choices(override: Override) -> list[str]:
    if override.is_sweep_override():
        return [str(choice) for choice in override.sweep_string_iterator()]
    value = override.value()
    return [str(choice) for choice in value] if isinstance(value, list) else ["null" if value is None else str(value)]


def _of_each_run(override: Override) -> str:
    """The same value as a choice of one; null, which is none of Hydra's choices, as it is."""
    key, value = str(override.input_line).split("=", 1)
    plain = override.is_sweep_override() or not value.strip() or override.value() is None
    return str(override.input_line) if plain else f"{key}=choice({value})"


def _is_no_choice(override: Override, chosen: Mapping[str, object]) -> bool:
    """Whether it says of a group that none of it is chosen, as is usual; Hydra takes no null of a group."""
    group = override.key_or_group
    return group in chosen and chosen[group] is None and not override.is_delete() and override.value() is None


def _is_glob(override: Override) -> bool:
    return isinstance(override.value(), Glob)


def _refuse(message: str) -> NoReturn:
    raise UsageError(f"{message}: --help tells what can be chosen")
