"""Trained networks, as their run directories keep them."""

import hashlib
import pickle
import zipfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cifar100x.data.store import EVAL_BATCH_SIZE
from cifar100x.disk.checking import is_stored
from cifar100x.disk.reading import DAMAGED
from cifar100x.errors import UserError
from cifar100x.nets.autoencoder import Encoder
from cifar100x.nets.pixels import OnBytes, Pixels
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.finished import num_done
from cifar100x.runs.record import CHECKPOINT, FOLD

MakeNet = Callable[[dict[str, Any]], nn.Module]
"""Makes the network that a config names under `model.net`."""


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What is in a checkpoint whose bytes are those that were written, its tensors on the CPU.

    Raises:
        UserError: it is none that a run wrote.
    """
    with suppress(*DAMAGED, pickle.UnpicklingError, RuntimeError):  # a hostile one may raise any
        with zipfile.ZipFile(path) as archive:
            stored = is_stored(archive)
        found = torch.load(path, map_location="cpu", weights_only=True) if stored else {}
        tensors = [value for value in found["state_dict"].values() if isinstance(value, Tensor)]
        if all(tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.itemsize for tensor in tensors):
            return found
    raise UserError(f"{path} is damaged, or no checkpoint of a run: the command that trained this run makes it anew")


def weights(run: RunDirectory) -> dict[str, Tensor]:
    """The tensors of a run's checkpoint on the CPU, by their names.

    Raises:
        UserError: it is absent, damaged, or not what the run finished with.
    """
    return load_checkpoint(run.verified(CHECKPOINT))["state_dict"]


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def load_strictly(module: nn.Module, tensors: dict[str, Tensor], said: str, remedy: str = "") -> None:
    """Give a module these tensors: each of its own must be there, of its shape, and no other.

    Args:
        module: changed in place.
        tensors: by their names in the module.
        said: of a difference, for the error, which names the first.
        remedy: what to do about one.

    Raises:
        UserError: they are not those of this module.
    """
    there, here = (
        {name: tuple(getattr(value, "shape", ())) for name, value in of.items()}  # a state may be none
        for of in (tensors, module.state_dict())
    )
    for name in sorted(there.keys() | here.keys()):
        if there.get(name) != here.get(name):
            found, expected = (of.get(name, "absent") for of in (there, here))
            raise UserError(f"{said}: {name} is {found} there, expected {expected}{remedy}")
    module.load_state_dict(tensors)


def load_network(run: RunDirectory, make_net: MakeNet) -> OnBytes:
    """The network of a finished run, which takes images uint8 (N, 3, 32, 32), in evaluation mode on the CPU.

    Raises:
        UserError: the run is not finished, or its checkpoint is not of its network.
    """
    if run.status.get("state") != "done":
        raise UserError(f"{run.path} is no finished run (its state is {run.status.get('state', 'absent')})")
    net, tensors = make_net(run.config), weights(run)
    load_strictly(net, below("net.", tensors), f"{run.checkpoint} is not of the network in its config.yaml")
    return OnBytes(Pixels(**below("pixels.", tensors)), net).eval()


def classifiers(path: Path) -> list[RunDirectory]:
    """The run in a directory, or the runs of all folds in the directory of a model; not of a repetition that goes on.

    Raises:
        UserError: there is neither, or it is no classifier's.
    """
    folds = sorted(
        (p for p in path.glob("fold*") if FOLD.fullmatch(p.name)), key=lambda fold: (len(fold.name), fold.name)
    )
    runs = [RunDirectory(fold) for fold in folds] or [RunDirectory(path)]
    num_folds = runs[0].metrics.get("folds") or len(runs)
    done = num_done([run.status.get("state", "") for run in runs])
    runs = runs[: done // num_folds * num_folds] or runs
    config = runs[0].config
    if not config:
        raise UserError(f"{path} is neither a run (runs/STUDY/MODEL/fold0) nor a model (runs/STUDY/MODEL)")
    if config["task"] != "classification":
        raise UserError(f"{path} is the pre-training of an autoencoder, which classifies nothing")
    return runs


@torch.no_grad()
def vote(nets: Iterable[Callable[[Tensor], Tensor]], images: Tensor) -> Tensor:
    """Mean of the networks' probabilities, (N, num_classes), for images uint8 (N, 3, 32, 32).

    They are float64: of an over-confident network the smallest would be 0 in float32, and the cross-entropy infinite.
    Networks are asked one after the other, so they may be loaded one after the other, too.
    """
    total, num_nets = torch.zeros(()), 0
    for net in nets:
        total = total + torch.cat([net(batch).double().softmax(1) for batch in images.split(EVAL_BATCH_SIZE)])
        num_nets += 1
    return total / num_nets


class PretrainedEncoder:
    """The encoder of a finished pre-training.

    Args:
        run: of the pre-training.
        remedy: what to do where there is none, for the error.

    Raises:
        UserError: the pre-training is not finished.
    """

    def __init__(self, run: RunDirectory, remedy: str):
        state = run.status.get("state")
        if state != "done":
            found = f"the pre-training in {run.path} is {state}" if state else f"there is no pre-training in {run.path}"
            raise UserError(f"{found}: {remedy}")
        if run.config["task"] != "pretraining":
            raise UserError(f"{run.path} is a classifier, and no pre-training of an encoder: {remedy}")
        self.run = run
        self.weights = below("net.encoder.", weights(run))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names and values of all tensors, batch-norm statistics included."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights.items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        return digest.hexdigest()

    def load_into(self, encoder: Encoder) -> None:
        """Give an encoder these weights.

        Raises:
            UserError: it is another encoder.
        """
        remedy = ": name another with model.encoder=/path/to/run"
        load_strictly(encoder, self.weights, f"{self.run.checkpoint} does not fit this encoder", remedy)
