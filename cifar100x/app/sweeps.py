"""The configs of a sweep, each composed once, before any run starts."""

import copy
import re
from collections.abc import Sequence
from itertools import product
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ParsedElementType, Quote, QuotedString
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from cifar100x.app.arguments import checked, nearest
from cifar100x.app.configs import check_added, check_reading, is_value, keys, plain
from cifar100x.app.schema import Run
from cifar100x.errors import UsageError

PLAIN = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
NO_TEXT = ("null", "true", "false", "nan", "inf")
"""What Hydra takes for another value than the text."""


def combined(overrides: Sequence[Override]) -> list[list[str]]:
    """Every combination of the values of a sweep, each spelt so that it is read as the same value again.

    Hydra's own leaves out quotes, and cannot read some of the values without.
    """
    spelt = {}
    for override in overrides:
        key, several = override.get_key_element(), override.is_sweep_override()
        values = override.sweep_iterator(_spelt) if several else [override.get_value_element_as_str()]
        spelt[key] = [f"{key}={value}" for value in values]
    return [list(combination) for combination in product(*spelt.values())]


def _spelt(value: ParsedElementType) -> str:
    if isinstance(value, str) and (not PLAIN.fullmatch(value) or value.lower() in NO_TEXT):
        value = QuotedString(value, Quote.single)
    return Override._get_value_element_as_str(value)


def compose_all(context: HydraContext, config: DictConfig, jobs: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """The configs of jobs, plain.

    Composing one takes a quarter of a second, so each choice of groups is composed once and single values are set
    afterwards, as Hydra does it.

    Args:
        context: Hydra's.
        config: of the sweep.
        jobs: the overrides of each.

    Raises:
        UsageError: a value for a key that a run does not have.
    """
    parser, known = OverridesParser.create(), context.config_loader.list_groups("")
    composed: dict[tuple[str, ...], DictConfig] = {}
    configs = []
    for job in jobs:
        overrides = parser.parse_overrides(list(job))
        values = [override for override in overrides if is_value(override, known)]
        choices = tuple(override for override in job if override not in [value.input_line for value in values])
        if choices not in composed:
            composed[choices] = context.config_loader.load_sweep_config(config, list(choices))
            with open_dict(composed[choices]):
                del composed[choices]["hydra"]
        filled = copy.deepcopy(composed[choices])
        for value in values:
            try:
                OmegaConf.update(filled, value.key_or_group, value.value())
            except (ConfigAttributeError, ConfigKeyError) as error:
                key, known = value.key_or_group, list(keys(plain(filled)))
                raise UsageError(nearest(f"{key}: no such key with {' '.join(choices)}", key, known)) from error
        configs.append(checked(plain(filled), Run))
        check_added(overrides, configs[-1], known)
    check_reading(parser.parse_overrides(list(jobs[0])), configs)
    return configs
