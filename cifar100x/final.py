"""Train the chosen model on all images, judge it on the test split: python -m cifar100x.final study=demo."""

from pathlib import Path
from typing import TYPE_CHECKING

from cifar100x.app.command import launch

if TYPE_CHECKING:
    from rich.console import Console

    from cifar100x.data.store import Split
    from cifar100x.runs.directory import RunDirectory
    from cifar100x.runs.networks import MakeNet
    from cifar100x.runs.study import Study


def final(*, study: str, runs: str, again: bool, trust: list[str]) -> None:
    """Train with all choices of the study's runs; count every look at the test split."""
    from rich.console import Console

    from cifar100x.app.jobs import make_job
    from cifar100x.app.parts import make_net, open_store, trusting
    from cifar100x.runs.study import Study
    from cifar100x.training.run import train

    found = Study(Path(runs) / study)
    chosen = found.verdict["chosen"]
    config = found.run(chosen, 0).config | {"study": study, "runs": runs, "fold": None, "launch": None}
    test = trusting(open_store, trust)(config).split("test")
    console = Console()
    print(train(make_job(config), console), flush=True)
    looks = found.final.metrics.get("test_looks", 0)
    if looks == 0 or again:
        look(found, chosen, test, looks + 1, trusting(make_net, trust))
    show(found.final, console)


def look(study: "Study", chosen: str, test: "Split", looks: int, make_net: "MakeNet") -> None:
    """Judge the final network, and the networks of the folds voting together, on the test split."""
    import numpy as np
    import torch

    from cifar100x.data.batches import EVAL_BATCH_SIZE
    from cifar100x.runs.networks import classifiers, load_network, vote
    from cifar100x.training.classify import evaluate

    images, labels = torch.from_numpy(np.array(test.images)), torch.from_numpy(test.fine.astype(np.int64))
    voters = {
        "test": [load_network(study.final, make_net)],
        "test_ensemble": [load_network(run, make_net) for run in classifiers(study.path / chosen)],
    }
    judged = {
        name: evaluate(torch.cat([vote(nets, batch) for batch in images.split(EVAL_BATCH_SIZE)]).log(), labels)
        for name, nets in voters.items()
    }
    study.final.record({**study.final.metrics, **judged, "test_looks": looks})


def show(run: "RunDirectory", console: "Console") -> None:
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
    launch(final, "final")


if __name__ == "__main__":
    main()
