"""From a config to the job it asks for, in three steps: find, fill in, make."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cifar100x.app.arguments import checked
from cifar100x.app.extras import callbacks_of, loggers_of, trainer_options
from cifar100x.app.naming import earlier_name, encoder_path, name_of, place, study_named
from cifar100x.app.parts import check_model, net_maker, open_store
from cifar100x.app.recipes import recipe_of
from cifar100x.app.schema import Batches, Run
from cifar100x.app.shares import check_shares, normalises_batches
from cifar100x.app.steps import steps_at_once
from cifar100x.data.batches import KFoldDataModule, UnlabelledDataModule
from cifar100x.data.folds import repeated_k_folds
from cifar100x.data.store import ImageStore
from cifar100x.errors import UsageError, UserError
from cifar100x.report.errors import most_confident_errors
from cifar100x.runs import identity
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.networks import PretrainedEncoder
from cifar100x.runs.study import PRETRAINING, Folds
from cifar100x.training import machine
from cifar100x.training.classify import Classification, Transfer
from cifar100x.training.learner import Learner
from cifar100x.training.reconstruct import Pretraining, divergence, sparsity
from cifar100x.training.run import Job

FROM_IMAGES = "from images"
"""Stands in a config for the number of classes, until the images are open."""
ALL_IMAGES = 2**32 - 1
"""Stands for the fold in the seeds of a run that holds out none."""

RANGES = {
    "seed": (0, 2**32 - 1),
    "learning_rate": (0, 1e30),
    "weight_decay": (0, 1e30),
    "trainer.max_epochs": (1, 10**6),
    "width.multiplier": (1e-6, 100),
    "folds.num": (2, 1000),
    "folds.repeats": (1, 1000),
    "folds.seeds": (1, 1000),
    "folds.seed": (0, 2**31),
    "data.batch_size": (1, 10**6),
    "trainer.accumulate_grad_batches": (1, 10**6),
}
"""What numbers mean something; not a number is outside of all."""


@dataclass(frozen=True)
class Found:
    """What disks and the machine say that a config leaves open."""

    precision: str
    devices: int
    steps_at_once: int
    encoder: PretrainedEncoder | None
    store: ImageStore


def make_job(config: Mapping[str, Any], *, store: ImageStore | None = None, here: bool = True) -> Job:
    """Make the job that a config asks for.

    Args:
        config: what was chosen.
        store: the images, if they are open already.
        here: whether it is trained on this machine, and not on one that has other devices.

    Raises:
        UserError: it cannot be trained; the message says why.
    """
    refuse_impossible(config)
    found = find(config, store, here)
    plain = filled_in(
        config,
        precision=found.precision,
        devices=found.devices,
        steps_at_once=found.steps_at_once,
        data_fingerprint=found.store.fingerprint,
        num_train=found.store.manifest["splits"].get("train", 0),
        encoder_fingerprint=found.encoder.fingerprint if found.encoder else None,
        num_classes=len(found.store.classes) or None,
    )
    make_learner = {"classification": classification, "pretraining": pretraining}[plain["task"]]
    learner, folds = make_learner(plain, found)
    if found.devices > 1:
        check_shares(found.devices, learner)
        if normalises_batches(learner):
            plain["norm_shares"] = found.devices
    study = study_named(plain["runs"], plain["study"])
    if folds:
        study.refuse_other_folds(folds)
        study.agreement.refuse_others(plain)
    plain["name"] = earlier_name(plain, study)
    run, title = place(plain, study)
    about = {"folder": str(run.path), "study": plain["study"], "candidate": plain["name"], "run": title}
    job = Job(
        title=title,
        study=study,
        run=run,
        config=plain,
        data=about_images(plain, found.store),
        learner=learner,
        folds=folds,
        max_epochs=plain["trainer"]["max_epochs"],
        accelerator=plain["trainer"]["accelerator"],
        devices=found.devices,
        precision=found.precision,
        keep_optimizer=plain["keep_optimizer"],
        loggers=loggers_of(plain, **about),
        callbacks=callbacks_of(plain, **about),
        options=trainer_options(plain, str(run.path)),
    )
    if (limit := job.options.get("limit_train_batches")) is not None and job.images_per_epoch <= 0:
        raise UserError(f"trainer.limit_train_batches is {limit}, which leaves no batch, expected at least one")
    return job


def refuse_impossible(config: Mapping[str, Any]) -> None:
    """Raise UserError for what a config says by itself that cannot be trained."""
    checked(config, Run)
    check_model(config["model"])
    checked({name: config["data"].get(name) for name in Batches.__annotations__}, Batches, "data")
    if config["task"] == "pretraining" and not {"sparsity", "divergence"} & config.keys():
        name = config["model"]["name"]
        raise UsageError(f"task=pretraining, but {name} is no autoencoder: leave the task to the model")
    values = identity.flat(config)
    for name, (least, most) in RANGES.items():
        value = values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise UserError(f"{name} is {value!r}, expected a number")
        if value is not None and not least <= value <= most:
            raise UserError(f"{name} is {value}, expected {least}..{most}")
    fold, cut = config["fold"], config["folds"]
    if config["task"] == "classification" and fold is not None:
        num_folds = cut["num"] * cut["repeats"] * cut["seeds"]
        if not 0 <= fold < num_folds:
            raise UserError(f"fold is {fold}, expected 0..{num_folds - 1}")
    name_of(config)
    study_named(config["runs"], config["study"])


def about_images(config: Mapping[str, Any], store: ImageStore) -> dict[str, Any]:
    """What metrics.json says of the images of a run; of those for pre-training, where they come from."""
    said = {"name": config["data"]["name"], "fingerprint": store.fingerprint}
    return said if config["task"] == "classification" else said | {"origins": store.manifest["origins"]}


def find(config: Mapping[str, Any], store: ImageStore | None, here: bool) -> Found:
    """Open the images, building their store on first use, and the encoder, and look at the machine.

    The precision `auto` is that which the run was begun in, or the study's first one, wherever they were, or else what
    this machine is fast at.
    """
    trainer = config["trainer"]
    device = machine.resolve_device(trainer["accelerator"] if here else "cpu")
    precision = trainer["precision"]
    if precision == "auto":
        study = study_named(config["runs"], config["study"])
        begun, _ = place({**config, "name": name_of(config)}, study)
        precision = study.precision(config["task"], begun) or precision
    devices = machine.resolve_devices(trainer["devices"], device)
    return Found(
        precision=machine.resolve_precision(precision, device),
        devices=devices,
        steps_at_once=steps_at_once(config, device, devices),
        encoder=find_encoder(config),
        store=store or open_store(config),  # last, since it may be built for minutes
    )


def find_encoder(config: Mapping[str, Any]) -> PretrainedEncoder | None:
    """Open the encoder that a model stands on, if it stands on one; UserError for one with another batch-norm."""
    path = encoder_path(config)
    if path is None:
        return None
    named = "" if path.name == PRETRAINING else f"name={path.name} "
    remedy = (
        f"make it with python -m cifar100x.train experiment={config['pretraining']} {named}study={config['study']} "
        f"runs={config['runs']}, or name another with model.encoder=/path/to/run"
    )
    encoder = PretrainedEncoder(RunDirectory(path), remedy)
    there, here = (model.get("batch_norm") for model in (encoder.run.config["model"], config["model"]))
    if None not in (there, here) and there != here:  # the same weights would be another function
        raise UserError(
            f"{path} was pre-trained with model.batch_norm={there}, but this model has {here}: choose {there}"
        )
    return encoder


def filled_in(
    config: Mapping[str, Any],
    *,
    precision: str,
    devices: int,
    steps_at_once: int,
    data_fingerprint: str,
    num_train: int,
    encoder_fingerprint: str | None,
    num_classes: int | None,
) -> dict[str, Any]:
    """The config with what was found in place of what it leaves open, and without keys that its task does not take.

    Raises:
        UserError: it says what images have of classes, and they have not.
    """
    said = config["data"]["num_classes"]
    if said not in (FROM_IMAGES, num_classes):
        raise UserError(f"data.num_classes is {said}, but the images have {num_classes} classes: leave it to them")
    plain = _replaced(copy.deepcopy(dict(config)), FROM_IMAGES, num_classes)
    plain["name"] = name_of(plain)
    plain.pop("norm_shares", None)  # of the run that the config is of
    plain["trainer"] |= {"precision": precision, "devices": devices, "steps_at_once": steps_at_once}
    plain["data"] |= {"fingerprint": data_fingerprint, "num_train": num_train}
    if encoder_fingerprint:
        plain["model"]["encoder_fingerprint"] = encoder_fingerprint
    if plain["task"] == "pretraining":  # it holds out some images, but no fold
        del plain["fold"], plain["folds"]
    return plain


def _replaced(node: Any, what: str, by: Any) -> Any:
    """A config in which one value stands for another everywhere."""
    if isinstance(node, dict):
        return {name: _replaced(value, what, by) for name, value in node.items()}
    return [_replaced(value, what, by) for value in node] if isinstance(node, list) else by if node == what else node


def of_training(config: Mapping[str, Any]) -> dict[str, Any]:
    """What all learners take from a config."""
    return {
        "make_net": net_maker(config),
        "recipe": recipe_of(config),
    }


FOLDS: dict[str, list[np.ndarray]] = {}
"""The last that were cut in this process, by what they depend on."""


def all_folds(labels: np.ndarray, fingerprint: str, config: Mapping[str, Any]) -> list[np.ndarray]:
    """The folds of a study, cut once for all jobs of a sweep: of fifty repetitions they are 20 MB."""
    known = str((fingerprint, sorted(config["folds"].items()), config["data"]["limit"]))
    if known not in FOLDS:
        FOLDS.clear()
        FOLDS[known] = repeated_k_folds(labels, **config["folds"], limit=config["data"]["limit"])
    return FOLDS[known]


def classification(config: Mapping[str, Any], found: Found) -> tuple[Learner, Folds | None]:
    """A classifier on all folds but one, or on all images."""
    split, fold, num = found.store.split("train"), config["fold"], config["folds"]["num"]
    if fold is None:
        shared, seed = None, (config["seed"], ALL_IMAGES)
        folds, held_out = [np.arange(0), np.arange(len(split.fine))], 0
    else:
        of_all = all_folds(split.fine, found.store.fingerprint, config)
        shared, seed = Folds(of_all, found.store.fingerprint), (config["seed"], fold)
        repetition, held_out = divmod(fold, num)
        folds = of_all[repetition * num : (repetition + 1) * num]
    data = KFoldDataModule(
        split,
        folds,
        fold=held_out,
        batch_size=config["data"]["batch_size"],
        reshuffle=config["data"]["reshuffle"],
        seed=seed,
        steps_at_once=config["trainer"]["steps_at_once"],
    )
    options = of_training(config) | {
        "data": data,
        "seed": seed,
        "classes": found.store.classes,
        "draw_errors": most_confident_errors,
    }
    learner = Transfer(encoder=found.encoder, **options) if found.encoder else Classification(**options)
    return learner, shared


def pretraining(config: Mapping[str, Any], found: Found) -> tuple[Learner, None]:
    """An autoencoder on images without their labels."""
    data = UnlabelledDataModule(
        lambda: found.store.images("train"),
        held_out=config["held_out"],
        batch_size=config["data"]["batch_size"],
        reshuffle=config["data"]["reshuffle"],
        seed=config["seed"],
        limit=config["data"]["limit"],
        steps_at_once=config["trainer"]["steps_at_once"],
    )
    learner = Pretraining(
        **of_training(config),
        data=data,
        seed=(config["seed"],),
        penalty=sparsity(**config["sparsity"]) if "sparsity" in config else divergence(**config["divergence"]),
    )
    return learner, None
