"""Linear probes of what an encoder makes of images, on the folds of a study."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import nn

from cifar100x.data.store import Split
from cifar100x.probing.linear_probe import fit_linear_probe
from cifar100x.report.tables import Probe
from cifar100x.training.classify import encode
from cifar100x.verdict.statistics import corrected, of_counting


def probe_all(
    representations: Mapping[str, nn.Module],
    split: Split,
    folds: Sequence[np.ndarray],
    *,
    device: torch.device,
    precision: str,
    seed: int,
    console: Console,
) -> list[Probe]:
    """Fit a linear probe on each representation and all folds but one, and judge it on that one, for each fold.

    Args:
        representations: maps of images (N, 3, 32, 32) in 0..1, by name.
        split: images and their labels.
        folds: K index arrays.
        device: where it is computed.
        precision: float32 or bf16, of the representations.
        seed: of the images that choose a penalty.
        console: shows how far it is, if it is a terminal.
    """
    used = np.concatenate(folds)
    images = torch.from_numpy(split.images[used])
    labels = torch.from_numpy(split.fine[used].astype(np.int64)).to(device)
    fold_of = torch.from_numpy(np.repeat(np.arange(len(folds)), [len(fold) for fold in folds]))
    results = []
    for name, module in representations.items():
        inputs = encode(module, images, device, precision, console).flatten(1)
        accuracies = np.empty(len(folds))
        shown = {"console": console, "transient": True, "disable": not console.is_terminal}
        for fold in track(range(len(folds)), f"probing {name}", **shown):  # type: ignore[arg-type]
            training, held_out = (torch.nonzero(chosen)[:, 0] for chosen in (fold_of != fold, fold_of == fold))
            fitted = fit_linear_probe(inputs, labels, training, seed=seed)
            accuracies[fold] = (fitted(inputs[held_out]).argmax(1) == labels[held_out]).double().mean()
        least = of_counting(len(used) / len(folds), num_accuracies=1)
        low, high = corrected(accuracies, len(folds), least).interval()
        results.append(Probe(name, inputs.shape[1], accuracies, max(float(low), 0.0), min(float(high), 1.0)))
    return results
