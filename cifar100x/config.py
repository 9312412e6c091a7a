"""The types of everything in conf/. A key that is not here is an error, so a mistyped one never passes unnoticed."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

PACKAGE = Path(__file__).parent
CONF = next(folder for folder in (PACKAGE / "conf", PACKAGE.parent / "conf") if folder.is_dir())
"""The folder of the configs: inside the package when installed from a wheel, beside it in a checkout."""


@dataclass
class Cifar100Store:
    """Arguments of `cifar100x.data.cifar100.open_store`."""

    _target_: str = MISSING
    cache: str = MISSING
    source: str | None = None
    mirrors: list[str] = MISSING
    md5: str = MISSING


@dataclass
class ImageNet32Store:
    """Arguments of `cifar100x.data.imagenet.open_store`."""

    _target_: str = MISSING
    cache: str = MISSING
    source: Any = None  # one path or several


@dataclass
class SyntheticStore:
    """Arguments of `cifar100x.data.synthetic.open_store`."""

    _target_: str = MISSING
    cache: str = MISSING
    train_per_class: int = MISSING
    test_per_class: int = MISSING
    seed: int = MISSING


@dataclass
class Data:
    """A data set and how batches are cut from it."""

    name: str = MISSING
    batch_size: int = MISSING
    reshuffle: bool = MISSING
    limit: int | None = None
    fingerprint: str | None = None  # of the image store, filled in by the run


@dataclass
class Cifar100Data(Data):
    """The real images."""

    source: str | None = None
    mirrors: list[str] = MISSING
    store: Cifar100Store = field(default_factory=Cifar100Store)


@dataclass
class ImageNet32Data(Data):
    """Real images without labels, for pre-training."""

    source: Any = None
    store: ImageNet32Store = field(default_factory=ImageNet32Store)


@dataclass
class SyntheticData(Data):
    """The embedded data set."""

    train_per_class: int = MISSING
    test_per_class: int = MISSING
    draw_seed: int = MISSING
    store: SyntheticStore = field(default_factory=SyntheticStore)


@dataclass
class ConvNet:
    """Arguments of `cifar100x.nets.conv.ConvNet`."""

    _target_: str = MISSING
    filters: list[int] = MISSING
    dense: list[int] = MISSING
    convs_per_block: int = MISSING
    dropout: float = MISSING
    batch_norm: str = MISSING
    width_multiplier: float = MISSING


@dataclass
class Autoencoder:
    """Arguments of `cifar100x.nets.autoencoder.Autoencoder`."""

    _target_: str = MISSING
    batch_norm: str = MISSING
    width_multiplier: float = MISSING


@dataclass
class TransferNet:
    """Arguments of `cifar100x.nets.transfer.TransferNet`."""

    _target_: str = MISSING
    batch_norm: str = MISSING
    frozen: bool = MISSING
    dense: list[int] = MISSING
    dropout: float = MISSING
    width_multiplier: float = MISSING


@dataclass
class Model:
    """A network, the name of its results and what is done with it: a class in `cifar100x.jobs`."""

    name: str = MISSING
    job: str = MISSING


@dataclass
class ConvModel(Model):
    """A convolutional network trained from scratch."""

    net: ConvNet = field(default_factory=ConvNet)


@dataclass
class AutoencoderModel(Model):
    """The autoencoder, trained without labels."""

    batch_norm: str = MISSING
    net: Autoencoder = field(default_factory=Autoencoder)


@dataclass
class TransferModel(Model):
    """A classifier on the encoder of a finished pre-training."""

    frozen: bool = MISSING
    encoder: str = MISSING
    encoder_fingerprint: str | None = None  # of its weights, filled in by the run
    batch_norm: str = MISSING
    net: TransferNet = field(default_factory=TransferNet)


@dataclass
class Width:
    """Filters of the convolutional blocks and units of the dense layers; `multiplier` scales both."""

    name: str = MISSING
    filters: list[int] = MISSING
    dense: list[int] = MISSING
    multiplier: float = MISSING


@dataclass
class Reading:
    """One understanding of what the paper leaves open."""

    name: str = MISSING
    dropout: float = MISSING
    batch_norm: str = MISSING
    weight_decay: float = MISSING


@dataclass
class Trainer:
    """Where and how long."""

    accelerator: str = MISSING
    devices: int = MISSING
    precision: str = MISSING
    max_epochs: int = MISSING


@dataclass
class Launch:
    """How a sweep is spread."""


@dataclass
class GpuLaunch(Launch):
    """Over GPUs, through Ray."""

    jobs_per_gpu: int = MISSING
    gpus: int | None = None
    address: str | None = None


@dataclass
class CoreLaunch(Launch):
    """Over cores, through Ray."""

    cores_per_job: int = MISSING
    cores: int | None = None


@dataclass
class SlurmLaunch(Launch):
    """As an array on Slurm."""

    jobs: int = MISSING
    options: dict[str, Any] = MISSING


@dataclass
class Folds:
    """How the images are cut for cross-validation."""

    num: int = MISSING
    repeats: int = MISSING
    seed: int = MISSING
    stratified: bool = MISSING


@dataclass
class Sparsity:
    """The L1 term of the autoencoder's loss."""

    weight: float = MISSING
    reduction: str = MISSING


@dataclass
class TrainConfig:
    """Primary config of a run."""

    study: str = MISSING
    runs: str = MISSING
    cache: str = MISSING
    fold: int | None = MISSING
    seed: int = MISSING
    learning_rate: float = MISSING
    keep_optimizer: bool = MISSING
    pretraining: str = MISSING
    folds: Folds = field(default_factory=Folds)
    held_out: int = MISSING
    sparsity: Sparsity = field(default_factory=Sparsity)
    data: Data = MISSING
    model: Model = MISSING
    width: Width = field(default_factory=Width)
    reading: Reading = field(default_factory=Reading)
    trainer: Trainer = field(default_factory=Trainer)
    launch: Launch | None = None


NO_EFFECT = (
    "study", "runs", "cache", "keep_optimizer", "pretraining", "folds.repeats", "data.source", "data.store.source",
    "data.store.cache", "data.mirrors", "data.store.mirrors", "data.store.md5", "model.encoder", "trainer.accelerator",
    "trainer.devices", "launch", "launch.",
)  # fmt: skip
"""Keys that do not change the result of a run; data and encoders are compared by their fingerprints."""


@dataclass
class CompareConfig:
    """Primary config of a comparison."""

    study: str = MISSING
    runs: str = MISSING
    rope: float = MISSING


@dataclass
class StatusConfig:
    """Primary config of a look at a study."""

    study: str = MISSING
    runs: str = MISSING


OmegaConf.register_new_resolver("if", lambda condition, then, otherwise: then if condition else otherwise)


@dataclass
class FinalConfig:
    """Primary config of the final training."""

    study: str = MISSING
    runs: str = MISSING
    again: bool = MISSING


_store = ConfigStore.instance()
_store.store(name="train_schema", node=TrainConfig)
_store.store(name="compare_schema", node=CompareConfig)
_store.store(name="final_schema", node=FinalConfig)
_store.store(name="status_schema", node=StatusConfig)
_store.store(group="launch", name="gpus_schema", node=GpuLaunch)
_store.store(group="launch", name="cores_schema", node=CoreLaunch)
_store.store(group="launch", name="slurm_schema", node=SlurmLaunch)
_store.store(group="data", name="cifar100_schema", node=Cifar100Data)
_store.store(group="data", name="imagenet32_schema", node=ImageNet32Data)
_store.store(group="data", name="synthetic_schema", node=SyntheticData)
_store.store(group="model", name="conv_schema", node=ConvModel)
_store.store(group="model", name="autoencoder_schema", node=AutoencoderModel)
_store.store(group="model", name="transfer_schema", node=TransferModel)

# Hydra's own groups. `params` are the values that are swept, as experiments name them
_PLUGINS = "hydra_plugins.cifar100x_sweep"
_sweeper = {"_target_": f"{_PLUGINS}.LongestFirstSweeper", "max_batch_size": None, "params": None}
_store.store(group="hydra/sweeper", name="longest_first", node=_sweeper)
_gpu_queue = {
    "_target_": f"{_PLUGINS}.RayLauncher",
    "gpus": "${launch.gpus}",
    "jobs_per_gpu": "${launch.jobs_per_gpu}",
    "address": "${launch.address}",
}
_core_queue = {
    "_target_": f"{_PLUGINS}.RayLauncher",
    "gpus": 0,
    "cores": "${launch.cores}",
    "cores_per_job": "${launch.cores_per_job}",
}
_slurm_array = {"_target_": f"{_PLUGINS}.SlurmLauncher", "jobs": "${launch.jobs}", "options": "${launch.options}"}
_store.store(group="hydra/launcher", name="gpu_queue", node=_gpu_queue)
_store.store(group="hydra/launcher", name="core_queue", node=_core_queue)
_store.store(group="hydra/launcher", name="slurm_array", node=_slurm_array)
