"""Whether runs may be compared: all must be equal but the network and the fold."""

from collections.abc import Mapping, Sequence
from typing import Any

from cifar100x.errors import UserError
from cifar100x.runs.identity import chosen, differing, of_run
from cifar100x.runs.result import Result

DECISIONS = ("reading.", "width.multiplier")
"""What the paper's models are made by, which must be equal where both have it."""


def refuse_unequal(results: Mapping[str, Sequence[Result]]) -> None:
    """Raise UserError if runs differ in anything but their network and their fold: then accuracies do not compare."""
    reference = next(iter(results.values()))[0]
    for of_model in results.values():
        for result in of_model:
            different = {
                *differing(_of_training(result.config), _of_training(reference.config)),
                *differing(_of_network(result.config), _of_network(of_model[0].config)),
                *_parted(chosen(result.config, DECISIONS), chosen(reference.config, DECISIONS)),
            }
            if different:
                raise UserError(
                    f"{result.name} differs from {reference.name} in {', '.join(sorted(different))}: models are "
                    "compared only if all is equal but the network; train one of them again in another study"
                )


def _of_training(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in of_run(config).items() if key != "fold" and not key.startswith("model.")}


def _of_network(config: Mapping[str, Any]) -> dict[str, Any]:
    return chosen(config, ("model.name", "model.net.", "model.encoder_fingerprint"))


def _parted(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    return [key for key in a.keys() & b.keys() if a[key] != b[key]]
