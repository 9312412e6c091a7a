"""How well a sweep fills its slots, simulated over the measured costs of a study's models.

    python -m bench.makespan runs/costs [epochs [images]]

takes the speed of every model from the finished runs of a study, which may be as short as one epoch, and spreads five
folds of each over 1, 4, 8 and 64 slots, and 250 times as many runs over 1,000: longest first as sweeps do it, in the
order of the command line, and as short as no schedule can undercut.
"""

import argparse
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from cifar100x.runs.directory import RunDirectory
from cifar100x.sweep.schedule import longest_first, makespan

NUM_FOLDS = 5


def costs_of(study: Path, num_epochs: int, num_images: int) -> dict[str, float]:
    """Hours that so many epochs of so many training images take each model, from its median speed."""
    found = {}
    for model in sorted({metrics.parents[1] for metrics in study.glob("*/fold*/metrics.json")}):
        runs = [run for fold in model.glob("fold*") if (run := RunDirectory(fold)).is_done]
        speeds = [run.metrics["images_per_second"] for run in runs]
        if speeds:
            found[model.name] = num_epochs * num_images / median(speeds) / 3600
    return found


def main() -> None:
    """Print the costs and the table."""
    parser = argparse.ArgumentParser("bench.makespan", description="How well a sweep fills its slots.")
    parser.add_argument("study", type=Path, help="its folder: one finished run of each model is enough")
    parser.add_argument("epochs", type=int, nargs="?", default=50, help="of a run")
    parser.add_argument("images", type=int, nargs="?", default=40_000, help="of an epoch")
    asked = parser.parse_args()
    costs = costs_of(asked.study, asked.epochs, asked.images)
    if not costs:
        raise SystemExit(f"error: {asked.study} holds no finished run, expected one of each model")
    console = Console()
    console.print(f"hours of one run, {asked.epochs} epochs of {asked.images} images:")
    console.print(", ".join(f"{model} {hours:.2f}" for model, hours in costs.items()), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    columns = ("runs", "slots", "one by one", "no less than", "longest first", "idle", "as listed", "idle")
    for column in columns:
        table.add_column(column, justify="right")
    for num_slots, num_repeats in ((1, 1), (4, 1), (8, 1), (64, 1), (1000, 250)):
        listed = [cost for cost in costs.values() for _ in range(NUM_FOLDS * num_repeats)]
        ours, theirs = (
            makespan([listed[job] for job in order], num_slots) for order in (longest_first(listed), range(len(listed)))
        )
        idle = [1 - sum(listed) / (end * num_slots) for end in (ours, theirs)]
        shortest = max(max(listed), sum(listed) / num_slots)  # the longest job, and all of them spread evenly
        table.add_row(
            str(len(listed)), str(num_slots), f"{sum(listed):.1f} h", f"{shortest:.2f} h",
            f"{ours:.2f} h", f"{idle[0]:.0%}", f"{theirs:.2f} h", f"{idle[1]:.0%}",
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    main()
