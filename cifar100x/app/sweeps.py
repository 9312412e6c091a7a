"""The configs of a sweep, each composed once, before any run starts."""

import copy
from collections.abc import Collection, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from cifar100x.app.arguments import checked
from cifar100x.app.configs import check_added, plain
from cifar100x.app.schema import Run


def compose_all(context: HydraContext, config: DictConfig, jobs: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """The configs of jobs, plain.

    Composing one takes a quarter of a second, so each choice of groups is composed once and single values are set
    afterwards, as Hydra does it.

    Args:
        context: Hydra's.
        config: of the sweep.
        jobs: the overrides of each.
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
            OmegaConf.update(filled, value.key_or_group, value.value())
        configs.append(checked(plain(filled), Run))
        check_added(overrides, configs[-1], known)
    return configs


def is_value(override: Override, groups: Collection[str]) -> bool:
    """Whether an override gives a key another value and changes nothing else."""
    key = override.key_or_group
    return override.type == OverrideType.CHANGE and key not in groups and not key.startswith("hydra.")
