"""Whether candidates may be compared, and in what they differ besides their networks."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from cifar100x.errors import UserError
from cifar100x.runs.identity import OF_NONE, chosen, differing, flat, of_run
from cifar100x.runs.result import Result

ENCODER = "model.encoder_fingerprint"
VOID = ("data.fingerprint", "data.num_train", "data.limit", "folds.num", "folds.seed", "folds.stratified")
"""Keys in which all candidates must be equal: else they were judged on other images."""
DECISIONS = {
    "learning_rate": "learning rate", "weight_decay": "weight decay", "data.batch_size": "batch size",
    "data.reshuffle": "reshuffling", "trainer.max_epochs": "epochs", "trainer.precision": "precision", "seed": "seed",
    "width.multiplier": "width multiplier", ENCODER: "encoder", "norm_shares": "batch-norm shares",
}  # fmt: skip
"""Keys that are each a decision of their own, with what they are called."""
GROUPS = {"reading": ("weight_decay",), "recipe": ("learning_rate", "weight_decay", "data.batch_size")}
"""Groups that are one decision by their name, with the keys that follow from it."""
BRANCHES = (*(f"{group}." for group in GROUPS), "callbacks.", "trainer.")
"""Parts of a config in which every key that differs is a decision, unless it has a name above."""


OF_OTHERS = ("batch_norm", "net.batch_norm", "net.dropout", "encoder", "encoder_fingerprint")
"""Keys of a model that belong to decisions of their own, the reading and the encoder, and not to the network."""


def refuse_void(results: Mapping[str, Sequence[Result]]) -> None:
    """Raise UserError for what makes a comparison void: other images or folds, or a candidate unequal within itself.

    The folds of a candidate may stand on one encoder, or each on one of its own.
    """
    reference = next(iter(results.values()))[0]
    for of_candidate in results.values():
        for result in of_candidate:
            there, here = chosen(reference.config, VOID), chosen(result.config, VOID)
            if different := differing(here, there):
                raise UserError(
                    f"{result.name} differs from {reference.name} in {', '.join(different)}: candidates are compared "
                    "on the same images and folds only; train one of them again in another study"
                )
            if different := differing(_of_candidate(result.config), _of_candidate(of_candidate[0].config)):
                raise UserError(
                    f"{result.name} differs from {of_candidate[0].name} in {', '.join(different)}: the folds of one "
                    "candidate must be trained alike; train one of them again, or under another name=NAME"
                )
        if len(encoders := encoders_of(of_candidate)) not in (0, 1, len(of_candidate)):
            raise UserError(
                f"{of_candidate[0].name} and its other folds stand on {len(encoders)} encoders, expected one or one "
                "for each fold: train some of them again, or under another name=NAME"
            )


def encoders_of(results: Sequence[Result]) -> set[str]:
    """The fingerprints of the encoders that the folds of a candidate stand on."""
    found = {flat(result.config).get(ENCODER) for result in results}
    return {fingerprint for fingerprint in found if fingerprint}


def decisions(results: Mapping[str, Sequence[Result]]) -> dict[str, list[str]]:
    """What candidates differ in besides their networks: the choice of each, by decision, in order of candidates.

    A candidate that does not take a decision has a dash; it differs from none in it.
    """
    configs = [of_candidate[0].config for of_candidate in results.values()]
    columns = {group: [str(config.get(group, {}).get("name", ABSENT)) for config in configs] for group in GROUPS}
    columns["reading"] = [
        ABSENT if reading == recipe else reading  # which a recipe brings has its name, and is no decision beside it
        for reading, recipe in zip(columns["reading"], columns["recipe"], strict=True)
    ]
    flats = [flat(config) for config in configs]
    for config, of_candidate in zip(flats, results.values(), strict=True):
        if len(encoders := encoders_of(of_candidate)) > 1:
            config[ENCODER] = sorted(encoders)
    for key, name in DECISIONS.items():
        values = [_shown(key, config.get(key)) for config in flats]
        follows = [group for group, keys in GROUPS.items() if key in keys]
        if not any(_explains(columns[group], values) for group in follows):
            columns[name] = values
    for key in sorted({key for config in flats for key in config if key.startswith(BRANCHES)}):
        values, group = [_shown(key, config.get(key)) for config in flats], key.split(".")[0]
        if key in DECISIONS or key in OF_NONE:
            continue
        sources = [[_shown(source, config.get(source)) for config in flats] for source in GROUPS.get(group, ())]
        if not any(_repeats(source, values) for source in sources) and not (
            group in GROUPS and _explains(columns[group], values)
        ):
            columns[key] = values
    return {name: values for name, values in columns.items() if len(set(values) - {ABSENT}) > 1}


def controls(results: Mapping[str, Sequence[Result]]) -> list[tuple[int, int]]:
    """The pairs, by place, that are one candidate trained twice under two seeds (Bouthillier et al. 2021)."""
    configs = [
        _of_candidate(of_candidate[0].config) | {ENCODER: sorted(encoders_of(of_candidate))}
        for of_candidate in results.values()
    ]
    return [(a, b) for a, b in combinations(range(len(configs)), 2) if differing(configs[a], configs[b]) == ["seed"]]


def same_network(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two configs train one network, whatever their reading makes of it."""
    return not differing(_network(a), _network(b))


def _network(config: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in flat(config["model"]).items() if key not in OF_OTHERS}
    if found.get("net.width_multiplier") == config.get("width", {}).get("multiplier"):  # a decision of its own
        found.pop("net.width_multiplier", None)
    return found


ABSENT = "–"


def _shown(key: str, value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, list) and key == ENCODER:
        return f"one a fold: {', '.join(encoder[:4] for encoder in value)}"
    if key.endswith("fingerprint"):
        return str(value)[:12]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _explains(group: Sequence[str], values: Sequence[str]) -> bool:
    """Whether candidates of one choice of a group have one value."""
    return len(set(zip(group, values, strict=True))) == len(set(group))


def _repeats(source: Sequence[str], values: Sequence[str]) -> bool:
    """Whether values are those of another key, in whoever has them."""
    return all(value in (there, ABSENT) for there, value in zip(source, values, strict=True))


def _of_candidate(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in of_run(config).items() if key not in ("fold", ENCODER)}
