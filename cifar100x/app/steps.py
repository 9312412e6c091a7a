"""How many training steps are taken at once."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from cifar100x.app.schema import Device
from cifar100x.errors import UserError

AT_ONCE = 50
"""Long enough on a GPU that what Lightning does between them takes no time, short enough to tell how far it is."""
MOST_AT_ONCE = 10_000
WITHOUT_STEPS = {
    "benchmark", "deterministic", "enable_autolog_hparams", "inference_mode", "limit_test_batches", "model_registry",
}  # fmt: skip
"""Options of Lightning's trainer that do not go by steps."""


def steps_at_once(config: Mapping[str, Any], device: torch.device, num_devices: int) -> int:
    """Find how many steps a run takes at once; `auto` is one wherever it is not known that a CUDA graph is the same.

    Raises:
        UserError: several are asked for, but something goes by single ones.
    """
    asked = config["trainer"].get("steps_at_once", "auto")
    single = next(_by_single_steps(config, num_devices), None)
    if asked == "auto":
        return AT_ONCE if device.type == "cuda" and not single and _is_known(config) else 1
    if isinstance(asked, bool) or not isinstance(asked, int) or not 1 <= asked <= MOST_AT_ONCE:
        raise UserError(f"trainer.steps_at_once is {asked!r}, expected auto or 1..{MOST_AT_ONCE}")
    if asked > 1 and single:
        raise UserError(f"trainer.steps_at_once is {asked}, but {single} by single steps: choose 1, or auto")
    return asked


def _by_single_steps(config: Mapping[str, Any], num_devices: int) -> Iterator[str]:
    """What of a config goes by them."""
    if num_devices > 1:
        yield f"trainer.devices={num_devices} goes"
    if config.get("callbacks"):
        yield "callbacks go"
    if config["recipe"].get("averaging"):
        yield "recipe.averaging goes"
    chosen = {name for name, value in config["trainer"].items() if value is not None}
    for name in sorted(chosen - Device.__annotations__.keys() - WITHOUT_STEPS):
        yield f"trainer.{name} goes"


def _is_known(config: Mapping[str, Any]) -> bool:
    """Whether all that a step is made of is known to be the same each time, but for what is drawn on the device.

    A graph would repeat what Python draws or counts.
    """
    recipe = config["recipe"]
    net, augmentation, optimizer = config["model"]["net"], recipe.get("augmentation"), recipe["optimizer"]
    return (
        str(net.get("_target_")).startswith("cifar100x.nets.")
        and str(optimizer.get("_target_")).startswith("torch.optim.")
        and (not augmentation or augmentation.get("_target_") == "cifar100x.data.augmentation.ShiftAndFlip")
    )
