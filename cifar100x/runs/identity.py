"""What makes a run the run that it is: the keys of its config that change its result. And configs of the past."""

from collections.abc import Mapping, Sequence
from typing import Any

from cifar100x.errors import UserError

CONFIG_SCHEMA = 2
METRICS_SCHEMA = 1

OF_ALL = (
    "seed", "learning_rate", "weight_decay", "data.fingerprint", "data.num_train", "data.batch_size", "data.reshuffle",
    "data.limit", "model.net.", "recipe.optimizer.", "recipe.schedule.", "recipe.augmentation.", "recipe.standardize",
    "recipe.label_smoothing", "recipe.gradient_clip_val", "recipe.averaging.", "callbacks.", "trainer.", "norm_shares",
)  # fmt: skip
UNKNOWN = ("data.num_train",)
"""Keys whose absence says nothing: configs of earlier versions lack them. A fingerprint does not tell splits apart."""
OF_NONE = ("trainer.accelerator", "trainer.devices", "trainer.steps_at_once")
"""Keys that change no result, though their branch, `trainer.`, does: where a run is trained, and how fast.

Steps at once do not where a network draws its random numbers on the device; of others see `cifar100x.app.steps`."""
OF_TASK = {
    "classification": ("fold", "folds.num", "folds.seed", "folds.stratified", "model.encoder_fingerprint"),
    "pretraining": ("held_out", "sparsity.", "divergence."),
}
"""Keys, and branches by their name with a dot, that change the result of a run; each run has those of all and of its
task. Where images and encoders lie is not among them: they are known by their fingerprints."""


def of_run(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config, flat, that changes the result of the run, or might; empty of an empty one."""
    found = chosen(config, (*OF_ALL, *OF_TASK[config["task"]])) if config else {}
    return {key: value for key, value in found.items() if key not in OF_NONE}


def chosen(config: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """The values of some keys of a config, by their dotted names; of a branch, named with a dot at its end, all."""
    branches = tuple(key for key in keys if key.endswith("."))
    return {key: value for key, value in flat(config).items() if key in keys or key.startswith(branches)}


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The keys in which two flat configs differ; an absent key is None, or unknown if earlier versions had none."""
    keys = (key for key in a.keys() | b.keys() if key not in UNKNOWN or (key in a and key in b))
    return sorted(key for key in keys if a.get(key) != b.get(key))


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested dictionaries to dotted keys; lists are values."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def upgraded_config(config: dict[str, Any], where: str) -> dict[str, Any]:
    """A config as this version would have written it. An absent key means what its default meant.

    Args:
        config: as it was read; an empty one stays so.
        where: it was read, for the error.

    Raises:
        UserError: it was written by a later version, or is damaged.
    """
    if not config:
        return {}
    if (task := config.get("task", "classification")) not in list(OF_TASK):  # it may be anything
        raise UserError(f"{where} has a damaged config: task is {str(task)[:40]!r}, expected {' or '.join(OF_TASK)}")
    schema = config.get("schema", 1)
    _refuse_later(schema, CONFIG_SCHEMA, where)
    config = {"recipe": PAPER, **config}
    if schema == CONFIG_SCHEMA:
        return {name: value for name, value in config.items() if name != "schema"}
    model, data = dict(config.get("model", {})), dict(config.get("data", {}))
    job = str(model.pop("job", ""))
    task = "pretraining" if job.endswith(".Pretraining") else "classification"
    store = data.pop("store", {})
    data |= {name: value for name, value in store.items() if name not in ("cache", "seed")}  # `data.draw_seed` is there
    if task == "classification" and "net" in model:
        model["net"] = {"num_classes": 100, **model["net"]}
        data["num_classes"] = 100
    config = {"name": config.get("model", {}).get("name"), **config}
    others = {name: value for name, value in config.items() if name not in FOREIGN[task]}
    weight_decay = config.get("reading", {}).get("weight_decay", 0.0)
    return others | {"task": task, "weight_decay": weight_decay, "model": model, "data": data}


PAPER: dict[str, Any] = {
    "name": "paper", "optimizer": {"_target_": "torch.optim.Adam", "fused": True}, "schedule": None,
    "augmentation": None, "standardize": False, "label_smoothing": 0.0, "gradient_clip_val": None, "averaging": None,
}  # fmt: skip
"""The recipe before there were others."""
FOREIGN = {"classification": ("held_out", "sparsity"), "pretraining": ("fold", "folds", "reading")}
"""Keys that the first schema had in every config, by the tasks that never read them."""


def upgraded_metrics(metrics: dict[str, Any], where: str) -> dict[str, Any]:
    """The contents of a metrics.json as this version writes them; there has been one schema so far."""
    _refuse_later(metrics.get("schema", METRICS_SCHEMA), METRICS_SCHEMA, where)
    return metrics


def _refuse_later(schema: int, known: int, where: str) -> None:
    if schema > known:
        raise UserError(f"{where} was written by a later version (schema {schema}, this one knows {known}): update")
