"""The keys of a run and their types, but for those of a data set or a network, which are arguments of its own."""

from typing import Annotated, Any, Literal, Never, NotRequired, TypedDict


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


class Device(TypedDict):
    """Where and how long."""

    accelerator: str
    devices: int
    precision: str
    max_epochs: int
    steps_at_once: NotRequired[int | str]


EPOCHS = "a run trains trainer.max_epochs epochs, no more and no fewer"
FILES = "a run keeps its files and its checkpoint in its own folder"
VALIDATED = "a run is validated whole after each epoch and evaluated at its end"
BAR = "a run has a progress bar of its own"
DEVICES = "it follows from trainer.accelerator and trainer.devices"
CLIPPING = "that is recipe.gradient_clip_val"


class Trainer(Device):
    """A device, and what else Lightning's trainer takes; `Never` is what would break a run's files, with the reason."""

    accumulate_grad_batches: NotRequired[int]
    benchmark: NotRequired[bool | None]
    detect_anomaly: NotRequired[bool]
    deterministic: NotRequired[bool | str | None]
    enable_autolog_hparams: NotRequired[bool]
    inference_mode: NotRequired[bool]
    limit_test_batches: NotRequired[int | float | None]
    limit_train_batches: NotRequired[int | float | None]
    log_every_n_steps: NotRequired[int | None]
    model_registry: NotRequired[str | None]
    profiler: NotRequired[Literal["simple", "advanced", "pytorch"] | None]
    sync_batchnorm: NotRequired[bool]
    barebones: NotRequired[Annotated[Never, VALIDATED]]
    callbacks: NotRequired[Annotated[Never, "name callbacks with callbacks=NAME, or +callbacks.NAME._target_=..."]]
    check_val_every_n_epoch: NotRequired[Annotated[Never, VALIDATED]]
    default_root_dir: NotRequired[Annotated[Never, FILES]]
    enable_checkpointing: NotRequired[Annotated[Never, FILES]]
    enable_model_summary: NotRequired[Annotated[Never, BAR]]
    enable_progress_bar: NotRequired[Annotated[Never, BAR]]
    fast_dev_run: NotRequired[Annotated[Never, EPOCHS]]
    gradient_clip_algorithm: NotRequired[Annotated[Never, CLIPPING]]
    gradient_clip_val: NotRequired[Annotated[Never, CLIPPING]]
    limit_predict_batches: NotRequired[Annotated[Never, VALIDATED]]
    limit_val_batches: NotRequired[Annotated[Never, VALIDATED]]
    logger: NotRequired[Annotated[Never, "name loggers with logger=[NAME], or +logger.NAME._target_=..."]]
    max_steps: NotRequired[Annotated[Never, EPOCHS]]
    max_time: NotRequired[Annotated[Never, EPOCHS]]
    min_epochs: NotRequired[Annotated[Never, EPOCHS]]
    min_steps: NotRequired[Annotated[Never, EPOCHS]]
    overfit_batches: NotRequired[
        Annotated[Never, "trainer.limit_train_batches=1 data.reshuffle=false overfits a batch"]
    ]
    num_nodes: NotRequired[Annotated[Never, DEVICES]]
    num_sanity_val_steps: NotRequired[Annotated[Never, VALIDATED]]
    plugins: NotRequired[Annotated[Never, FILES]]
    reload_dataloaders_every_n_epochs: NotRequired[Annotated[Never, VALIDATED]]
    strategy: NotRequired[Annotated[Never, DEVICES]]
    use_distributed_sampler: NotRequired[Annotated[Never, DEVICES]]
    val_check_interval: NotRequired[Annotated[Never, VALIDATED]]


class Divergence(TypedDict):
    """The divergence of a variational autoencoder's code; see `cifar100x.training.reconstruct.divergence`."""

    weight: float


class Recipe(TypedDict):
    """How a network is trained; see `cifar100x.training.recipe.Recipe`."""

    name: str
    optimizer: dict[str, Any]
    schedule: NotRequired[dict[str, Any] | None]
    augmentation: NotRequired[dict[str, Any] | None]
    standardize: NotRequired[bool]
    label_smoothing: NotRequired[float]
    gradient_clip_val: NotRequired[float | None]
    averaging: NotRequired[dict[str, Any] | None]


class Sparsity(TypedDict):
    """The L1 term of an autoencoder's loss; see `cifar100x.training.reconstruct.sparsity`."""

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
    recipe: Recipe
    logger: NotRequired[dict[str, Any] | None]
    callbacks: NotRequired[dict[str, Any] | None]
    race: NotRequired[float | None]
    launch: NotRequired[dict[str, Any] | None]
    width: NotRequired[dict[str, Any]]
    reading: NotRequired[dict[str, Any]]
    norm_shares: NotRequired[int]
    held_out: NotRequired[int]
    sparsity: NotRequired[Sparsity]
    divergence: NotRequired[Divergence]
