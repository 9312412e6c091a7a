"""Train the chosen model on all images, judge it on the test split: python -m cifar100x.final study=demo."""

from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from cifar100x import cli
from cifar100x.data.modules import EVAL_BATCH_SIZE
from cifar100x.data.store import Split
from cifar100x.jobs.classification import evaluate
from cifar100x.runs import RunDirectory, Study
from cifar100x.train import train
from cifar100x.trained import classifiers, load_network, vote


def final(config: DictConfig) -> None:
    """Train with all choices of the study's runs; count every look at the test split."""
    study = Study(Path(config.runs) / config.study)
    chosen = study.verdict["chosen"]
    run_config = OmegaConf.create(study.run(chosen, 0).config)
    run_config.merge_with({"study": config.study, "runs": config.runs, "fold": None})
    test = instantiate(run_config.data.store).split("test")
    train(run_config)
    looks = study.final.metrics.get("test_looks", 0)
    if looks == 0 or config.again:
        look(study, chosen, test, looks + 1)
    show(study.final, Console())


def look(study: Study, chosen: str, test: Split, looks: int) -> None:
    """Judge the final network, and the networks of the folds voting together, on the test split."""
    images, labels = torch.from_numpy(np.array(test.images)), torch.from_numpy(test.fine.astype(np.int64))
    voters = {
        "test": [load_network(study.final)],
        "test_ensemble": [load_network(run) for run in classifiers(study.path / chosen)],
    }
    judged = {
        name: evaluate(torch.cat([vote(nets, batch) for batch in images.split(EVAL_BATCH_SIZE)]).log(), labels)
        for name, nets in voters.items()
    }
    study.final.record({**study.final.metrics, **judged, "test_looks": looks})


def show(run: RunDirectory, console: Console) -> None:
    """Print what is known, and how often the test split has been looked at."""
    metrics = run.metrics
    for name, key in (("test split", "test"), ("the folds' networks voting together", "test_ensemble")):
        console.print(
            f"{name}: accuracy {metrics[key]['accuracy']:.4f}, cross-entropy {metrics[key]['cross_entropy']:.3f}"
        )
    times = "once" if metrics["test_looks"] == 1 else f"{metrics['test_looks']} times"
    console.print(f"The test split has been looked at {times}; again=true looks once more and is counted.")


def main() -> None:
    """Entry point of the command line."""
    cli.launch(final, "final")


if __name__ == "__main__":
    main()
