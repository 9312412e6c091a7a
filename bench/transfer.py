"""Training the head of a frozen encoder on codes computed once, against sending every image through it every epoch.

    python -m bench.transfer

Both ways are measured in turn, in this process, at the paper's width. The ratio is that of whole runs: as many epochs
as the paper's, the encoding included.
"""

import logging
import statistics
import time
from typing import Any

import lightning as L
import numpy as np
import torch
from rich.console import Console

from bench.training import BATCH_SIZE, Clock
from cifar100x.data.batches import KFoldDataModule
from cifar100x.data.synthetic import draw
from cifar100x.nets.transfer import TransferNet
from cifar100x.training import machine
from cifar100x.training.classify import Classifier, CodeClassifier, encode
from cifar100x.training.recipe import Recipe

EPOCHS, ROUNDS = 50, 3


def images_per_second(task: L.LightningModule, data: L.LightningDataModule, precision: Any) -> float:
    """Median speed of training steps."""
    clock = Clock()
    trainer = L.Trainer(
        precision=precision, max_epochs=-1, callbacks=[clock], limit_val_batches=0, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, data)
    return BATCH_SIZE / statistics.median(clock.seconds)


def main() -> None:
    """Measure both ways in turn and print medians and the ratio."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    machine.keep_pages()
    device = machine.resolve_device("auto")
    precision = machine.resolve_precision("auto", device)
    split = draw(50, seed=0)
    images = torch.from_numpy(split.images)
    folds = np.array_split(np.random.default_rng(0).permutation(len(split.fine)), 5)
    net = TransferNet(batch_norm="batch", frozen=True, dense=[1024, 512, 512, 256, 256], dropout=0.0, num_classes=100)
    recipe = Recipe(learning_rate=1e-4)
    speeds: dict[str, list[float]] = {"plain": [], "encoding": [], "on codes": []}
    for _ in range(ROUNDS):
        started = time.perf_counter()
        codes = encode(net.encoder, images, device, precision, Console(quiet=True))
        speeds["encoding"].append(len(images) / (time.perf_counter() - started))
        for way, kind, inputs in (("plain", Classifier, split.images), ("on codes", CodeClassifier, codes)):
            data = KFoldDataModule(split, folds, fold=0, batch_size=BATCH_SIZE, reshuffle=True, seed=(0, 0))
            data.inputs = inputs
            task = kind(net, recipe=recipe, seed=(0,), num_classes=100)
            speeds[way].append(images_per_second(task, data, machine.PRECISIONS[precision]))
    net.to(device).eval()
    batch = images[:500].to(device).float() / 255
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        plain, on_codes = net(batch), net.head(codes[:500])
    print(f"t-arch2 on {machine.device_name(device)}, {precision}, torch {torch.__version__}")
    for way, measured in speeds.items():
        low, high = min(measured), max(measured)
        print(f"  {way:10} {statistics.median(measured):10.1f} images/s  (of {ROUNDS}: {low:.1f} to {high:.1f})")
    seconds = [
        (EPOCHS / plain_speed) / (1 / encoding_speed + EPOCHS / code_speed)
        for plain_speed, encoding_speed, code_speed in zip(*speeds.values(), strict=True)
    ]
    print(f"  ratio of {EPOCHS} epochs {statistics.median(seconds):.1f}  ({min(seconds):.1f} to {max(seconds):.1f})")
    print(f"  largest difference of logits {(plain - on_codes).abs().max():.1e}, of {plain.abs().max():.1e}")


if __name__ == "__main__":
    main()
