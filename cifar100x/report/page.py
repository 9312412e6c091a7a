"""The report: one HTML file that needs no other."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from cifar100x.report.caveats import rests_on
from cifar100x.report.numbers import interval, percent
from cifar100x.report.plot import Plot
from cifar100x.report.words import answer, looked, on_early_stopping, on_test, outcome_of
from cifar100x.runs.result import Look
from cifar100x.runs.study import Study
from cifar100x.verdict.comparison import Comparison

PAPER = {
    "arch1-hyp1": (0.3507, 6.58),
    "arch1-hyp2": (0.3929, 5.49),
    "arch1-hyp3": (0.4128, 5.09),
    "arch2-hyp1": (0.3633, 6.42),
    "arch2-hyp2": (0.4081, 5.59),
    "arch2-hyp3": (0.4194, 5.52),
    "t-arch1": (0.2921, 7.92),
    "t-arch2": (0.2038, 5.74),
}
"""Accuracy and cross-entropy of the paper's Table I."""


@dataclass(frozen=True)
class Encoder:
    """What is known of an autoencoder: its name, metrics of its pre-training, its pictures, and probes of its code."""

    name: str
    metrics: dict[str, Any]
    pictures: bytes | None  # PNG
    probes: Sequence[dict[str, str]]

    @property
    def pictures_base64(self) -> str | None:
        """The pictures as they stand in a page."""
        return base64.b64encode(self.pictures).decode() if self.pictures else None


def encoders_of(study: Study) -> list[Encoder]:
    """What is known of a study's autoencoders."""
    return [Encoder(run.path.name, run.metrics, run.pictures, study.probes(run)) for run in study.pretrainings]


def render(c: Comparison, study: str, plots: Sequence[Plot], encoders: Sequence[Encoder], look: Look | None) -> str:
    """Make the page.

    Args:
        c: the comparison.
        study: its name.
        plots: its figures; those that are absent are left out.
        encoders: what is known of the autoencoders that the study has.
        look: what the last look at the test split found, if there was one.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    runs = [result for results in c.results for result in results]
    environment.filters.update(percent=percent, points=lambda fraction: f"{100 * fraction:+.2f}", svg=_inline)
    return environment.get_template("page.html.jinja").render(
        c=c,
        study=study,
        answer=answer(c),
        rests_on=rests_on(c),
        outcome_of=outcome_of,
        interval=interval,
        plots={plot.name: plot for plot in plots},
        encoders=encoders,
        paper={model: PAPER[model] for model in c.models if model in PAPER and c.metrics["data"]["name"] == "cifar100"},
        look=look,
        on_test=on_test,
        on_early_stopping=on_early_stopping(c),
        looked=looked,
        config=c.results[0][0].config,
        metrics=c.metrics,
        seconds=sum(result.metrics["train_seconds"] for result in runs),
        rates=list(dict.fromkeys(rate for run in runs if (rate := run.config.get("learning_rate")) is not None)),
        seeds=sorted({run.metrics["seed"] for run in runs}),
        commits=sorted({_commit(run.metrics["environment"]) for run in runs}),
        machines=sorted({_machine(run.metrics["environment"]) for run in runs}),
    )


def _commit(environment: Mapping[str, Any]) -> str:
    return f"{environment['commit']}{' (with changes)' if environment['dirty'] else ''}"


def _machine(environment: Mapping[str, Any]) -> str:
    """Where a run was trained, and by what."""
    device, threads, precision, torch, lightning = (
        environment[name] for name in ("device", "threads", "precision", "torch", "lightning")
    )
    plural = "s" if threads > 1 else ""
    return f"{device}, {threads} thread{plural}, {precision}, torch {torch}, lightning {lightning}"


def _inline(plot: Plot) -> Markup:
    """A drawing to stand in a page: without the head of a file, black in the colour of the text, with words for it."""
    svg = plot.svg[plot.svg.index("<svg") :].replace("#000000", "currentColor")
    label = escape(f"{plot.caption} {plot.alternative}")
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))
