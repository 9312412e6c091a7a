"""Trained networks, as their run directories keep them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from cifar100x.errors import UserError
from cifar100x.runs import RunDirectory


def weights(run: RunDirectory, prefix: str) -> dict[str, Tensor]:
    """The tensors of a run's checkpoint whose names begin with `prefix`, by the rest of their names, on the CPU."""
    tensors = torch.load(run.checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def load_network(run: RunDirectory) -> nn.Module:
    """The network of a finished run, in evaluation mode on the CPU.

    Raises:
        UserError: the run is not finished, or its checkpoint is not of its network.
    """
    if run.status.get("state") != "done":
        raise UserError(f"{run.path} is no finished run (its state is {run.status.get('state', 'absent')})")
    net = instantiate(run.config["model"]["net"])
    try:
        net.load_state_dict(weights(run, "net."))
    except RuntimeError as error:
        raise UserError(f"{run.checkpoint} is not of the network in its config.yaml: {error}") from error
    return net.eval()


def classifiers(path: Path) -> list[RunDirectory]:
    """The run in a directory, or the runs of all folds in the directory of a model.

    Raises:
        UserError: there is neither, or it is no classifier's.
    """
    folds = sorted(path.glob("fold[0-9]*"), key=lambda fold: (len(fold.name), fold.name))
    runs = [RunDirectory(fold) for fold in folds] or [RunDirectory(path)]
    if not runs[0].config:
        raise UserError(f"{path} is neither a run (runs/STUDY/MODEL/fold0) nor a model (runs/STUDY/MODEL)")
    if "val" in runs[0].metrics and "accuracy" not in runs[0].metrics["val"]:
        raise UserError(f"{path} is the pre-training of an autoencoder, which classifies nothing")
    return runs


@torch.no_grad()
def vote(nets: Sequence[nn.Module], images: Tensor) -> Tensor:
    """Mean of the networks' probabilities, (N, num_classes), for images uint8 (N, 3, 32, 32).

    They are float64: of an over-confident network the smallest would be 0 in float32, and the cross-entropy infinite.
    """
    return torch.stack([net(images.float() / 255).double().softmax(1) for net in nets]).mean(0)
