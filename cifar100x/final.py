"""Train the chosen model on all images, judge it on the test split: python -m cifar100x.final study=demo."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cifar100x.app.command import launch
from cifar100x.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from cifar100x.data.store import Split
    from cifar100x.runs.looks import Looks
    from cifar100x.runs.networks import MakeNet
    from cifar100x.runs.study import Study


def final(*, study: str, runs: str, cache: str | None, again: bool, trust: list[str]) -> None:
    """Train with all choices of the study's runs; count every look at the test split; write the report anew."""
    from functools import partial

    from rich.console import Console

    from cifar100x.app.jobs import make_job
    from cifar100x.app.naming import study_named
    from cifar100x.app.parts import ALL, make_net, trusting
    from cifar100x.app.reporting import results_of, write_report
    from cifar100x.data.store import cache_folder, store_of
    from cifar100x.runs.looks import Looks
    from cifar100x.training.run import train
    from cifar100x.verdict.comparison import num_distinct_folds

    found = study_named(runs, study)
    verdict = found.verdict
    chosen = verdict["chosen"]
    results, _ = results_of(found)  # what cannot be compared is refused before the test split is looked at
    there = {"folds": num_distinct_folds(results[chosen]), "runs": len(results[chosen])}
    for name, number in there.items():
        if (judged := verdict.get(name, number)) != number:  # those of earlier versions were taken on all
            raise UserError(
                f"{found.report} tells of another number of {name} ({judged}) than there are ({number}): compare the "
                f"study first (cifar100x.compare study={study})"
            )
    config = found.run(chosen, 0).config
    config |= {"study": study, "runs": runs, "fold": None, "launch": None, "cache": cache}
    here = {"accelerator": "auto", "devices": 1, "steps_at_once": "auto"}
    config["trainer"] |= here  # whatever machine the folds were trained on
    store = store_of(cache_folder(cache), config["data"])
    test = store.split("test")
    console = Console(markup=False)
    print(train(trusting(partial(make_job, store=store), trust, ALL)(config), console), flush=True)
    if found.final.look is None or again:
        looks = Looks(cache_folder(cache), store.fingerprint)
        look(found, chosen, len(results[chosen]), test, looks, trusting(make_net, trust))
        write_report(found, cache)
    show(found.final.metrics, console)


def look(study: "Study", chosen: str, num_voters: int, test: "Split", looks: "Looks", make_net: "MakeNet") -> None:
    """Judge the final network, and the networks of the folds that are compared voting together, on the test split."""
    import numpy as np
    import torch

    from cifar100x.runs.networks import load_network, vote
    from cifar100x.runs.result import Predictions
    from cifar100x.training.classify import evaluate

    images, labels = torch.from_numpy(np.array(test.images)), torch.from_numpy(test.fine.astype(np.int64))
    voters = {"test": [study.final], "test_ensemble": [study.run(chosen, fold) for fold in range(num_voters)]}
    for run in (*voters["test"], *voters["test_ensemble"]):  # what cannot be loaded is told before a look is counted
        load_network(run, make_net)
    with study.final.amending():  # one after the other: each look is counted
        looks.add(study.path, chosen)
        said = {
            name: vote((load_network(run, make_net) for run in runs), images).log() for name, runs in voters.items()
        }
        alone, together = (logits.float().numpy() for logits in said.values())
        judged = {name: evaluate(logits, labels) for name, logits in said.items()}
        study.final.write_look(Predictions(np.arange(len(labels)), labels.numpy(), alone), together)
        counted = {
            "test_looks": max(study.final.metrics.get("test_looks", 0) + 1, len(looks.of_study(study.path))),
            "test_looks_of_data": len(looks.all),
        }
        study.final.record({**study.final.metrics, **judged, **counted})


def show(metrics: Mapping[str, Any], console: "Console") -> None:
    """Print what is known, and how often the test split has been looked at."""
    from cifar100x.report.words import looked, on_test

    for sentence in (*on_test(metrics), f"{looked(metrics)}; again=true looks once more and is counted."):
        console.print(sentence, highlight=False)


def main() -> None:
    """Entry point of the command line."""
    launch(final, "final")


if __name__ == "__main__":
    main()
