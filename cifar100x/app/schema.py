"""The keys of a run that the door itself takes, with their types; those of a data set or a network are its own."""

from typing import Any, Literal, NotRequired, TypedDict


class Cut(TypedDict):
    """How images are cut into folds."""

    num: int
    seed: int
    stratified: bool


class Folds(Cut):
    """How images are cut for cross-validation; arguments of `cifar100x.data.folds.repeated_k_folds`."""

    repeats: int
    seeds: NotRequired[int]


class Batches(TypedDict):
    """What a config says of a data set beside where its images come from."""

    name: str
    num_classes: int | str | None
    batch_size: int
    reshuffle: bool
    limit: int | None


class Trainer(TypedDict):
    """Where and how long."""

    accelerator: str
    devices: int
    precision: str
    max_epochs: int


class Sparsity(TypedDict):
    """The L1 term of an autoencoder's loss; see `cifar100x.training.reconstruct.Reconstructor`."""

    weight: float
    reduction: str


class Run(TypedDict):
    """One run. What is not required belongs to the models that bring it."""

    study: str
    runs: str
    cache: str | None
    name: str | None
    task: Literal["classification", "pretraining"]
    fold: int | None
    folds: Folds
    seed: int
    learning_rate: float
    weight_decay: float
    keep_optimizer: bool
    pretraining: str
    rope: NotRequired[float | None]
    variances: NotRequired[str | None]
    looks: NotRequired[int | None]
    baseline: NotRequired[str | None]
    data: dict[str, Any]
    model: dict[str, Any]
    trainer: Trainer
    race: NotRequired[float | None]
    launch: NotRequired[dict[str, Any] | None]
    width: NotRequired[dict[str, Any]]
    reading: NotRequired[dict[str, Any]]
    held_out: NotRequired[int]
    sparsity: NotRequired[Sparsity]
