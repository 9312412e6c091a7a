"""Make tables, figures and README.md from the files in results/runs: python -m results.build"""

import csv
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import jinja2
import numpy as np

import cifar100x
from cifar100x.app.opened import OpenedStudy
from cifar100x.report.page import PAPER
from cifar100x.report.tables import write_csv
from cifar100x.runs.finished import num_done
from cifar100x.runs.result import Result
from cifar100x.runs.study import Study
from results import figures
from results.claims import CHANCE, EPOCHS, IMAGES, MISSED, ON_GPU, Row, Rows, judged

HERE = Path(__file__).parent
STUDIES = (
    "readings",
    "table1",
    "ranking",
    "encoders",
    "dense",
    "recipes",
    "modern",
    "search",
    "gpu-table1",
    "gpu-modern",
)
OF_CALIBRATION = ("model", "calibration_error", "cross_entropy")
"""What is kept of that table."""
WHOLE_ROWS = (("table1", "arch1-hyp1"), ("encoders", "t-arch2"))
"""Of Table I, trained with all images: study and candidate."""
BEST = "arch2-hyp3"
"""The paper's choice."""
ALPHA = 0.05
"""Of the study of the ranking, whose verdict was taken once."""


def num_folds(study: Study) -> int:
    """How many folds, from the first, all candidates of a study have finished."""
    return min(num_done([run.status.get("state", "") for run in runs]) for runs in study.models.values())


def compare(study: Study) -> None:
    """Compare a study by the public command, which writes tables and figures beside its runs."""
    name, runs = study.path.name, study.path.parent
    command = [sys.executable, "-m", "cifar100x.compare", f"study={name}", f"runs={runs}", f"folds={num_folds(study)}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    report = study.report
    (report / "report.html").unlink()  # large, and made by the command above
    table = report / "calibration.csv"  # a temperature needs the probabilities of all classes, which are not kept
    with table.open(newline="") as file:
        rows = [[row[name] for name in OF_CALIBRATION] for row in csv.DictReader(file)]
    write_csv(table, [OF_CALIBRATION, *rows])


def described(study: OpenedStudy) -> list[dict[str, Any]]:
    """What the page says of each candidate of a study; accuracies are fractions."""
    early = {row["model"]: row for row in study.tables["early-stopping"]}
    pairs = _pairs_of(study)
    found = []
    of_candidates = zip(study.tables["table1"], study.comparison.results, study.comparison.confidences, strict=True)
    for row, results, confidences in of_candidates:
        histories = [result.history for result in results]
        best = [max(history, key=lambda epoch: epoch["val_accuracy"]) for history in histories]
        metrics = results[0].metrics
        found.append(
            {
                **row,
                "paper": PAPER.get(row["model"]),
                "early": early[row["model"]],
                "first_fold": metrics["val"]["accuracy"],
                "best_accuracy": sum(epoch["val_accuracy"] for epoch in best) / len(best),
                "best_epoch": sum(epoch["epoch"] for epoch in best) / len(best),
                "train_accuracy": np.mean([result.metrics["train"]["accuracy"] for result in results]),
                "curves": {name: _mean_curve(histories, name) for name in histories[0][0]},
                "confidence": confidences.mean(),
                "missed": _most_missed(results),
                "pairs": pairs[row["model"]],
                "learning_rate": results[0].config["learning_rate"],
                "batch_size": results[0].config["data"]["batch_size"],
                "parameters": metrics["parameters"],
                "operations": metrics["training_operations"],
                "epochs": metrics["epochs"],
                "images": metrics["train"]["count"],
                "environments": [result.metrics["environment"] for result in results],
                "hours": sum(_hours(history) for history in histories),
            }
        )
    return found


def _mean_curve(histories: Sequence[list[dict[str, float]]], name: str) -> list[float]:
    """Of a column over the folds, by epoch."""
    return np.mean([[epoch[name] for epoch in history] for history in histories], axis=0).tolist()


def _pairs_of(study: OpenedStudy) -> dict[str, dict[str, dict[str, Any]]]:
    """What is said of each candidate against each other one."""
    found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in study.candidates}
    for pair in study.pairs:
        a, b, difference, low, high = (pair[k] for k in ("model_a", "model_b", "difference", "ci_low", "ci_high"))
        said = {"a better": ("better", "worse"), "b better": ("worse", "better")}
        of_a, of_b = said.get(pair["outcome"], (pair["outcome"], pair["outcome"]))
        found[a][b] = {"difference": difference, "low": low, "high": high, "outcome": of_a}
        found[b][a] = {"difference": -difference, "low": -high, "high": -low, "outcome": of_b}
    return found


def _most_missed(results: Sequence[Result], draws: int = 10_000) -> dict[str, float]:
    """Whether the classes most missed share superclasses more often than as many drawn by lot."""
    superclass = np.array(results[0].classes.superclass_of)
    lots = np.random.default_rng(0).permuted(np.tile(superclass, (draws, 1)), axis=1)[:, :MISSED]
    labels = np.concatenate([result.predictions.label for result in results])
    right = np.concatenate([result.predictions.logits.argmax(axis=1) for result in results]) == labels
    accuracy = np.bincount(labels, right) / np.bincount(labels)

    def shared(chosen: np.ndarray) -> np.ndarray:
        """Pairs of one superclass among superclasses (..., MISSED) of classes."""
        return ((chosen[..., :, None] == chosen[..., None, :]).sum(axis=(-1, -2)) - MISSED) // 2

    found, by_lot = shared(superclass[np.argsort(accuracy, kind="stable")[:MISSED]]), shared(lots)
    return {
        "almost_all": int((accuracy < 0.1).sum()),
        "pairs": int(found),
        "expected": float(by_lot.mean()),
        "p": float((by_lot >= found).mean()),
    }


def _hours(history: list[dict[str, float]]) -> float:
    """Of a training; from the median epoch, since a few were halted while something else was measured."""
    return median(epoch["seconds"] for epoch in history) * len(history) / 3600


def opened(runs: Path) -> dict[str, OpenedStudy]:
    """All studies."""
    return {name: cifar100x.open_study(runs / name, folds=num_folds(Study(runs / name))) for name in STUDIES}


def rows_of(studies: Mapping[str, OpenedStudy]) -> Rows:
    """What the page says of each candidate of each study."""
    return Rows({name: {row["model"]: row for row in described(study)} for name, study in studies.items()})


def operations_of_paper(rows: Rows) -> dict[str, float]:
    """What one training of each of the paper's networks takes, by what one image took in the ranking."""
    return {
        name: row["operations"] / (row["images"] * row["epochs"]) * IMAGES * EPOCHS
        for name, row in rows["ranking"].items()
    }


def ordered_alike(pairs: Sequence[tuple[Row, Row]]) -> tuple[int, int]:
    """In how many pairs of candidates the more accurate one is the paper's, too; and how many pairs there are."""
    alike = [(a["accuracy_mean"] > b["accuracy_mean"]) == (a["paper"][0] > b["paper"][0]) for a, b in pairs]
    return sum(alike), len(pairs)


def encoders(study: Study, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each encoder of a study: its pre-training, the accuracy of its probes, and the frozen classifier on it."""
    found = {}
    for run in study.pretrainings:
        name = run.path.name
        probes = study.probes(run, "cifar100")
        found[name] = {
            **run.metrics,
            "penalty": _penalty(run.config),
            "probes": {probe["representation"]: float(probe["accuracy_mean"]) for probe in probes},
            "probe_margin": max(float(probe["accuracy_high"]) - float(probe["accuracy_mean"]) for probe in probes),
            "classifier": rows["t-arch2" if name == "autoencoder" else f"t-arch2-{name}"],
        }
    return found


def _penalty(config: Mapping[str, Any]) -> str:
    """Of a code, beside the error of its reconstruction."""
    if divergence := config.get("divergence"):
        return f"divergence, {divergence['weight']}"
    weight, reduction = (config["sparsity"][name] for name in ("weight", "reduction"))
    return f"L1 {reduction}, {weight}" if weight else "none"


def made(rows: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """On which machines the runs of each study were made, by which commits, and in how many hours of training."""
    found = []
    for name, of_study in rows.items():
        environments = [environment for row in of_study.values() for environment in row["environments"]]
        said = {
            key: sorted({str(environment[key]) for environment in environments})
            for key in ("device", "threads", "precision", "torch", "lightning", "commit")
        }
        found.append({"study": name, "hours": sum(row["hours"] for row in of_study.values()), **said})
    return found


def page(studies: Mapping[str, OpenedStudy], rows: Rows) -> str:
    """README.md, from all studies and what is known of their candidates."""
    ranked = sorted(rows["ranking"].values(), key=lambda row: -row["accuracy_mean"])
    pairs = list(combinations(ranked, 2))
    of_conv = [(a, b) for a, b in pairs if a["model"].startswith("arch") and b["model"].startswith("arch")]
    decided = [(a, b) for a, b in pairs if a["pairs"][b["model"]]["outcome"] in ("better", "worse")]
    behind = [p for p in studies["ranking"].pairs if p["model_b"] == "t-arch1" and p["p_own_holm"] < ALPHA]
    named = encoders(studies["encoders"].study, rows["encoders"])
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters.update(
        percent=lambda fraction: f"{100 * fraction:.2f}", counts=lambda all_: Counter(all_).items()
    )
    return environment.get_template("page.md.jinja").render(
        rows=rows,
        ranked=ranked,
        alike=ordered_alike(pairs),
        alike_conv=ordered_alike(of_conv),
        alike_decided=ordered_alike(decided),
        decided_conv=sum(pair in decided for pair in of_conv),
        by_own_variances=len(behind),
        answer=studies["ranking"].verdict["answer"],
        share_of_images=rows["ranking"][BEST]["images"] / IMAGES,
        encoder=studies["ranking"].study.pretrainings[0].metrics,
        named_encoders=named,
        probe_margin=max(encoder["probe_margin"] for encoder in named.values()),
        first_folds=sorted(rows[ON_GPU].values(), key=lambda row: -row["accuracy_mean"]),
        whole_rows=[rows[study][name] for study, name in WHOLE_ROWS if study in rows],
        made=made(rows),
        best=PAPER[BEST],
        paper_cross_entropies=[cross_entropy for _, cross_entropy in PAPER.values()],
        uniform=-np.log(CHANCE),
        best_operations=operations_of_paper(rows)[BEST],
        claims=judged(rows),
    )


if __name__ == "__main__":
    runs = HERE / "runs"
    for name in STUDIES:
        compare(Study(runs / name))
    studies = opened(runs)
    rows = rows_of(studies)
    for plot in (figures.recipes(runs), figures.operations(rows, operations_of_paper(rows))):
        plot.write(runs)
    (HERE / "README.md").write_text(page(studies, rows))
    print(f"wrote {HERE / 'README.md'}, and tables and figures in {runs}")
