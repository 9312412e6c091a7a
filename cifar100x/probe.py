"""Ask what a pre-trained encoder knows, with linear probes: python -m cifar100x.probe experiment=demo."""

from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track
from torch import nn

from cifar100x import cli, stats, system
from cifar100x.jobs.classification import Transfer
from cifar100x.linear_probe import fit_linear_probe
from cifar100x.nets.transfer import TransferNet
from cifar100x.report import tables
from cifar100x.runs import Study
from cifar100x.tasks.classify import encode


def probe(config: DictConfig) -> None:
    """Fit linear probes on the code, the features before it, and raw pixels, on the folds of the study."""
    device = system.resolve_device(config.trainer.accelerator)
    precision = system.resolve_precision(config.trainer.precision, device)
    job = Transfer(config)
    net: TransferNet = instantiate(config.model.net)
    job.encoder.load_into(net.encoder)
    net.eval()
    used = np.concatenate(job.folds)
    images = torch.from_numpy(job.data.split.images[used])
    labels = torch.from_numpy(job.data.split.fine[used].astype(np.int64)).to(device)
    fold_of = torch.from_numpy(np.repeat(np.arange(len(job.folds)), [len(fold) for fold in job.folds]))
    representations = {"code": net.encoder, "features": net.encoder.features, "pixels": nn.Identity()}

    results = []
    console = Console()
    for name, module in representations.items():
        inputs = encode(module, images, device, precision).flatten(1)
        accuracies = np.empty(len(job.folds))
        folds = range(len(job.folds))
        for fold in track(folds, f"probing {name}", console=console, transient=True, disable=not console.is_terminal):
            training, held_out = (torch.nonzero(chosen)[:, 0] for chosen in (fold_of != fold, fold_of == fold))
            fitted = fit_linear_probe(inputs, labels, training, seed=config.seed)
            accuracies[fold] = (fitted(inputs[held_out]).argmax(1) == labels[held_out]).double().mean()
        low, high = stats.corrected_interval(accuracies, len(job.folds))
        results.append(tables.Probe(name, inputs.shape[1], accuracies, float(low), float(high)))
    path = tables.write_probes(results, Study(Path(config.runs) / config.study).report)
    tables.show_probes(results, config.study, path, console)


def main() -> None:
    """Entry point of the command line."""
    cli.launch(probe, "probe")


if __name__ == "__main__":
    main()
