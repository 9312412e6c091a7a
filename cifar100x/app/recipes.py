"""The recipe of a config."""

from collections.abc import Callable, Mapping
from typing import Any

from hydra.utils import get_object
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cifar100x.app.arguments import maker
from cifar100x.errors import UsageError, UserError
from cifar100x.training.recipe import Recipe

ALL_STEPS, ALL_EPOCHS = "all steps", "all epochs"
"""Stand in a schedule for how many there are, until the images are open."""


def recipe_of(config: Mapping[str, Any]) -> Recipe:
    """How a config has its network trained.

    Raises:
        UserError: some of it cannot be made, or does not go with the model.
    """
    node = config["recipe"]
    refuse_misfit(config)
    optimizer = partial_of(node["optimizer"], "recipe.optimizer", ("params", "lr"))
    schedule = node.get("schedule")
    if schedule:  # now, before anything is trained
        maker(_counted(schedule, 1, 1), "recipe.schedule", ("optimizer",))
        if _names(schedule, ReduceLROnPlateau):
            raise UsageError(
                "recipe.schedule: ReduceLROnPlateau goes by what the held-out fold says, expected a schedule that goes "
                "by steps or epochs"
            )

    def make_schedule(optimizer: Any, num_steps: int, num_epochs: int) -> Any:
        return partial_of(_counted(schedule, num_steps, num_epochs), "recipe.schedule", ("optimizer",))(optimizer)

    augmentation, averaging = node.get("augmentation"), node.get("averaging")
    make_averaging = maker(averaging, "recipe.averaging") if averaging else None
    if averaging and not _names(averaging, WeightAveraging):
        raise UsageError(f"recipe.averaging: {averaging['_target_']} is no WeightAveraging of Lightning's")
    return Recipe(
        learning_rate=config["learning_rate"],
        weight_decay=config["weight_decay"],
        optimizer=optimizer,
        schedule=make_schedule if schedule else None,
        interval="step" if schedule and ALL_STEPS in schedule.values() else "epoch",
        augment=maker(augmentation, "recipe.augmentation")() if augmentation else None,
        standardize=node.get("standardize", False),
        label_smoothing=node.get("label_smoothing", 0.0),
        gradient_clip_val=node.get("gradient_clip_val"),
        averaging=make_averaging,
    )


def refuse_misfit(config: Mapping[str, Any]) -> None:
    """Raise UserError for what a recipe asks of a model that has no use for it."""
    node, what = config["recipe"], config["model"]["name"]
    if config["task"] == "pretraining":
        for key in ("augmentation", "standardize", "label_smoothing"):
            if node.get(key):
                raise UserError(
                    f"recipe {node['name']} has a recipe.{key}, but {what} reconstructs images as they are and has no "
                    "labels: pre-train with another recipe"
                )
    elif config["model"].get("frozen") and node.get("averaging"):
        raise UserError(
            f"recipe {node['name']} averages weights, which would change the frozen encoder of {what} by rounding: add "
            "recipe.averaging=null"
        )
    elif config["model"].get("encoder") and node.get("standardize"):
        raise UserError(
            f"recipe {node['name']} standardizes channels, but the encoder of {what} was pre-trained on pixels in "
            "0..1: add recipe.standardize=false"
        )


def partial_of(node: Mapping[str, Any], key: str, given: tuple[str, ...]) -> Callable[..., Any]:
    """What a node names, with its other values as arguments, still to be called with those that are given.

    They may be anything, as parameters of a network, which a config could not hold.
    """
    return maker({**node, "_partial_": True}, key, given)()


def _names(node: Mapping[str, Any], kind: type) -> bool:
    """Whether what a node has as its target is a class of a kind."""
    target = get_object(node["_target_"])
    return isinstance(target, type) and issubclass(target, kind)


def _counted(schedule: Mapping[str, Any], num_steps: int, num_epochs: int) -> dict[str, Any]:
    if ALL_STEPS in schedule.values() and ALL_EPOCHS in schedule.values():
        raise UsageError(f"recipe.schedule has {ALL_STEPS!r} and {ALL_EPOCHS!r}, expected one of them: it goes by it")
    counts = {ALL_STEPS: num_steps, ALL_EPOCHS: num_epochs}
    return {name: counts.get(value, value) if isinstance(value, str) else value for name, value in schedule.items()}
