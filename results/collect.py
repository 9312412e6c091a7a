"""Take finished runs of studies into results/runs: python -m results.collect RUNS STUDY...

Everything but checkpoints, events, logs and pictures of images is kept, and predictions in a form a twentieth as large:
the log probabilities of the five likeliest classes and of the right one, the rest of the probability spread evenly over
all others. What is right, what is taken for what, confidence and cross-entropy stay as they were, up to half precision.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import yaml
from scipy import special

from cifar100x.disk.reading import read_json
from cifar100x.disk.writing import replacing, write_json
from cifar100x.errors import UserError
from cifar100x.runs.directory import RunDirectory
from cifar100x.runs.result import Predictions
from cifar100x.runs.study import Study

RESULTS = Path(__file__).parent / "runs"
LIKELIEST = 5
SMALLEST = 1e-7  # a step in half precision: no two classes become equally likely that were not
OF_RUN = ("history.csv", "classes.json")


def compact(predictions: Predictions) -> Predictions:
    """The same predictions with fewer numbers in them."""
    likely = special.log_softmax(predictions.logits.astype(float), axis=1)
    rows, num_classes = np.arange(len(likely)), likely.shape[1]
    kept = np.zeros(likely.shape, bool)
    np.put_along_axis(kept, np.argsort(-likely, axis=1, kind="stable")[:, :LIKELIEST], True, axis=1)
    kept[rows, predictions.label] = True
    others = num_classes - kept.sum(axis=1)
    left = np.clip(1 - np.where(kept, np.exp(likely), 0).sum(axis=1), 1e-12, None) / np.maximum(others, 1)
    values = np.where(kept, likely, np.log(left)[:, None])
    best = predictions.logits.argmax(axis=1)
    values = np.minimum(values - values[rows, best][:, None], -SMALLEST)
    values[rows, best] = 0
    return Predictions(
        predictions.index.astype(np.int32), predictions.label.astype(np.int16), values.astype(np.float16)
    )


def collect_run(run: RunDirectory, target: Path) -> None:
    """Copy a finished run; its status comes last."""
    target.mkdir(parents=True, exist_ok=True)
    for name in OF_RUN:
        if (run.path / name).exists():
            shutil.copyfile(run.path / name, target / name)
    metrics = json.loads((run.path / "metrics.json").read_text())
    if origins := metrics["data"].get("origins"):
        metrics["data"]["origins"] = {Path(origin).name: count for origin, count in origins.items()}
    write_json(target / "metrics.json", metrics)
    with replacing(target / "config.yaml") as file:
        yaml.safe_dump(_without_places(yaml.safe_load((run.path / "config.yaml").read_text())), file, sort_keys=False)
    if (run.path / "predictions.npz").exists():
        small = compact(run.predictions)
        with replacing(target / "predictions.npz", "wb") as file:
            np.savez_compressed(file, index=small.index, label=small.label, logits=small.logits)
    status = {name: value for name, value in run.status.items() if name not in ("run", "files")}
    RunDirectory(target).finish(status)


def _without_places(config: dict) -> dict:
    """A config without the folders of the machine that it ran on."""
    source = config["data"].get("source")
    names = [Path(path).name for path in source] if isinstance(source, list) else source and Path(source).name
    return config | {"runs": "runs", "cache": None, "data": config["data"] | {"source": names}}


def collect(study: Study, target: Study) -> list[Path]:
    """Copy what is finished of a study and is not there yet; return the folders."""
    runs = [run for run in (*study.all_runs(), *study.pretrainings) if run.is_done]
    new = [run for run in runs if not RunDirectory(target.path / run.path.relative_to(study.path)).is_done]
    for run in new:
        collect_run(run, target.path / run.path.relative_to(study.path))
    if study.plan:  # without the place of the interpreter
        command = "python " + study.plan["command"].partition(" ")[2]
        target.path.mkdir(parents=True, exist_ok=True)
        planned = target.plan.get("runs", {}) | study.plan["runs"]  # those of other machines, too
        write_json(target.path / "sweep.json", {"command": command, "runs": planned})
    if (agreed := study.agreement.path).exists():  # the verdicts that were taken here stay on record
        records = [read_json(path) for path in (target.agreement.path, agreed) if path.exists()]
        write_json(target.agreement.path, records[-1] | {"looks": sorted({n for r in records for n in r["looks"]})})
    for path in (study.folds_path, *study.report.glob("probe*.csv")):
        if path.exists():
            place = target.path / path.relative_to(study.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    return [run.path for run in new]


if __name__ == "__main__":
    parser = argparse.ArgumentParser("results.collect", description="Take over what is finished of some studies.")
    parser.add_argument("runs", type=Path, help="folder of the studies")
    parser.add_argument("names", nargs="+", metavar="study")
    asked = parser.parse_args()
    studies = [Study(asked.runs / name) for name in asked.names]
    try:
        for study in studies:
            study.must_exist()
        for study in studies:
            for path in collect(study, Study(RESULTS / study.path.name)):
                print(f"collected {path}")
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
