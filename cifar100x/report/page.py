"""The report: one HTML file that needs no other."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from cifar100x.report.plot import Plot, percent
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

MOST_NAMES = 7  # in one sentence


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
    return [
        Encoder(run.path.name, run.metrics, run.pictures, study.probes(run.path.name)) for run in study.pretrainings
    ]


def render(
    c: Comparison, study: str, plots: Sequence[Plot], encoders: Sequence[Encoder], final: dict[str, Any] | None
) -> str:
    """Make the page.

    Args:
        c: the comparison.
        study: its name.
        plots: its figures; those that are absent are left out.
        encoders: what is known of the autoencoders that the study has.
        final: metrics of the chosen model on the test split, if it was judged.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(percent=percent, points=lambda fraction: f"{100 * fraction:+.2f}", svg=_inline)
    return environment.get_template("page.html.jinja").render(
        c=c,
        study=study,
        answer=answer(c),
        plots={plot.name: plot for plot in plots},
        encoders=encoders,
        paper=PAPER,
        final=final,
        config=c.results[0][0].config,
        metrics=c.metrics,
        seconds=sum(result.metrics["train_seconds"] for results in c.results for result in results),
        commits=sorted({str(result.metrics["environment"]["commit"]) for results in c.results for result in results}),
    )


def answer(c: Comparison) -> list[str]:
    """The verdict in one to three sentences."""
    chosen = c.models[c.chosen]
    if len(c.models) == 1:
        found = f"{percent(c.accuracy_low[0])} to {percent(c.accuracy_high[0])}"
        accuracy = percent(c.accuracies[0].mean())
        return [f"{chosen} has an accuracy of {accuracy} (95% interval {found}); there is no other to compare it with."]
    wins = int((c.winners == c.chosen).sum())
    first = (
        f"{chosen} is the one to choose: it wins {wins} of {len(c.models)} rows by the paper's rule, with an accuracy "
        f"of {percent(c.accuracies[c.chosen].mean())} (95% interval {percent(c.accuracy_low[c.chosen])} to "
        f"{percent(c.accuracy_high[c.chosen])})."
    )
    others = [i for i in range(len(c.models)) if i != c.chosen]
    parted = {i: c.parted_in(c.chosen, i) for i in others}
    last = []
    if mixed := [i for i in others if parted[i]]:
        what = [name for name in c.decisions if any(name in parted[i] for i in mixed)]
        last = [
            f"From {_listed([c.models[i] for i in mixed])} it differs in more than the network ({', '.join(what)}): "
            "which of these makes the difference, this study does not say."
        ]
    open_ = [c.models[i] for i in others if not c.survives(c.chosen, i)]
    if not open_:
        return [
            first,
            "It is better than every other one also when corrected for shared training images and for many tests.",
            *last,
        ]
    return [
        first,
        f"Once corrected for the training images that folds share and for the number of comparisons, it is better than "
        f"{len(others) - len(open_)} of the {len(others)} others; against {_listed(open_)} this study proves nothing.",
        *last,
    ]


def _listed(names: Sequence[str]) -> str:
    if len(names) > MOST_NAMES:
        return f"{', '.join(names[:MOST_NAMES])} and {len(names) - MOST_NAMES} others"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _inline(plot: Plot) -> Markup:
    """A drawing to stand in a page: without the head of a file, black in the colour of the text, with words for it."""
    svg = plot.svg[plot.svg.index("<svg") :].replace("#000000", "currentColor")
    label = escape(f"{plot.caption} {plot.alternative}")
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))
