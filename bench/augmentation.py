"""What augmentation costs a training step, as ratios: python -m bench.augmentation [rounds].

Two networks with the batch of the recipe `modern`, and the smallest of the paper with its own; steps with and without
augmentation take turns in one process, and each ratio is that of their medians.
"""

import argparse
import time
from statistics import median

import torch
from hydra import compose, initialize_config_dir
from torchvision.transforms import v2

from cifar100x.app.configs import CONF, plain
from cifar100x.app.parts import make_net
from cifar100x.data.augmentation import Each, ShiftAndFlip
from cifar100x.training import machine
from cifar100x.training.classify import Classifier
from cifar100x.training.recipe import Recipe

WAYS = {
    "none": None,
    "ours": ShiftAndFlip(4),
    "torchvision, one by one": Each(v2.Compose([v2.RandomCrop(32, 4), v2.RandomHorizontalFlip()])),
}


def seconds(task: Classifier, optimizer: torch.optim.Optimizer, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Of one step."""
    start = time.perf_counter()
    optimizer.zero_grad()
    with torch.autocast(
        "cpu", torch.bfloat16, enabled=machine.resolve_precision("auto", torch.device("cpu")) == "bf16"
    ):
        loss = task.training_step(batch)
    loss.backward()
    optimizer.step()
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("bench.augmentation", description="What augmentation costs a training step.")
    parser.add_argument("rounds", type=int, nargs="?", default=30, help="of all ways in turn")
    rounds = parser.parse_args().rounds
    machine.keep_pages()
    print(f"{torch.get_num_threads()} threads of {machine.device_name(torch.device('cpu'))}")
    for model, batch_size in (("arch1", 50), ("arch1", 128), ("resnet20", 128)):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = plain(compose("train", [f"model={model}", "data.num_classes=100"]))
        batch = torch.randint(256, (batch_size, 3, 32, 32), dtype=torch.uint8), torch.randint(100, (batch_size,))
        tasks = {
            way: Classifier(
                make_net(config), recipe=Recipe(learning_rate=1e-4, augment=augment), seed=(0,), num_classes=100
            )
            for way, augment in WAYS.items()
        }
        optimizers = {way: task.recipe.optimizer_of(task.net) for way, task in tasks.items()}
        taken: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                taken[way].append(seconds(tasks[way], optimizers[way], batch))
        step = median(taken["none"])
        print(f"{model}, batch {batch_size}: a step of {1000 * step:.0f} ms without;", end=" ")
        print(", ".join(f"{way} {median(taken[way]) / step - 1:+.1%}" for way in WAYS if way != "none"))


if __name__ == "__main__":
    main()
