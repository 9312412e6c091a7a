"""What a comparison says, in sentences: the verdict, early stopping, and the test split."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from cifar100x.report.numbers import MOST_NAMES, interval, listed, percent, points
from cifar100x.verdict import statistics
from cifar100x.verdict.comparability import encoders_of
from cifar100x.verdict.comparison import Comparison
from cifar100x.verdict.early_stopping import EarlyStopping
from cifar100x.verdict.pairs import Outcome, Pair


def answer(c: Comparison) -> list[str]:
    """The verdict in a few sentences."""
    chosen = c.models[c.chosen]
    own = f"{percent(c.accuracies[c.chosen].mean())} of the held-out images"
    if c.accuracies.shape[1] == 1:
        return [*_of_one_fold(c, own), *_controls(c), *_mixed(c), *_given_encoder(c)]
    if len(c.models) == 1:
        found = f"{own} (95% interval {percent(c.accuracy_low[0])} to {percent(c.accuracy_high[0])})"
        first = (
            f"{chosen} is the one to choose: all others were eliminated, and it classifies {found} correctly."
            if c.eliminated
            else f"{chosen} classifies {found} correctly; there is no other to compare it with."
        )
        return [first, *_eliminated(c), *_given_encoder(c)]
    wins = int((c.winners == c.chosen).sum())
    if wins == len(c.models):
        first = f"{chosen} is the one to choose: it wins every row by the paper's rule, and classifies {own} correctly."
    else:
        tied = (np.bincount(c.winners, minlength=len(c.models)) == wins).sum() > 1
        means = c.accuracies.mean(axis=1).round(statistics.DIGITS)
        equal = (means == means[c.chosen]).sum() > 1
        of_equals = "is the first by name of equals" if equal else "is the more accurate of equals"
        most = f"no fewer than any other, {of_equals}" if tied else "the most"
        first = (
            f"{chosen} is the one to choose: by the paper's rule, whose rows disagree, it wins {wins} of "
            f"{len(c.models)}, {most}, and classifies {own} correctly."
        )
    return [first, *_compared(c), *_eliminated(c), *_late(c), *_looks(c), *_controls(c), *_mixed(c), *_given_encoder(c)]


def _of_one_fold(c: Comparison, own: str) -> list[str]:
    """What one fold says, which is no verdict."""
    first = (
        f"On the one fold that is compared {c.models[c.chosen]} classifies {own} correctly: how much other images and "
        "another training would change is not known from one, and nothing is decided."
    )
    others = [i for i in np.argsort(-c.accuracies[:, 0], kind="stable") if i != c.chosen]
    leads = listed([f"{c.models[i]} {100 * c.differences[c.chosen, i]:+.1f}" for i in others])
    return [first, *([f"Its lead in points: {leads}."] if others else [])]


def _compared(c: Comparison) -> list[str]:
    """What stands between the chosen model and the others that it was tested against."""
    tested = f"{c.num_tests} comparison{'s' if c.num_tests > 1 else ''}"
    said = [
        f"{words} {listed(models)}"
        for words, outcome in (("better than", Outcome.A_BETTER), ("worse than", Outcome.B_BETTER))
        if (models := c.others(outcome))
    ]
    if same := c.others(Outcome.EQUIVALENT):
        said.append(f"equivalent, within {points(c.terms.rope)} points, to {listed(same)}")
    sentences = []
    if said:
        sentences = [f"Corrected for the training images that folds share and for {tested}, it is {'; '.join(said)}."]
    if open_ := c.others(Outcome.UNDECIDED):
        corrected = "" if said else f", corrected for the training images that folds share and for {tested}"
        leads = listed([f"{model} {_lead(c, model)}" for model in open_])
        sentences.append(f"Undecided{corrected}; its lead in points, with the 95% interval of each alone: {leads}.")
    if c.terms.baseline and len(c.models) > 2:
        sentences.append(
            f"Only comparisons with the baseline {c.terms.baseline} were agreed on: nothing is said of other pairs."
        )
    elif len(c.unbeaten) > 1 and not c.terms.baseline:
        sentences.append(f"Beaten by none: {listed(c.unbeaten)}.")
    return sentences


def _eliminated(c: Comparison) -> list[str]:
    """Who left a race, when and why; the most promising first."""
    if not c.eliminated:
        return []
    in_turn = sorted(c.eliminated, key=lambda e: -e.chance)
    said = [
        f"{e.model} after {e.after} folds, {100 * e.behind:.1f} points behind {e.leader} (chance to overtake it "
        f"{e.chance:.2g})"
        for e in in_turn[:MOST_NAMES]
    ]
    more = len(in_turn) - len(said)
    more_said = f"; and {more} other{'s' if more > 1 else ''} with less chance" if more else ""
    return [
        f"Eliminated, before all folds were trained, as not to come first: {'; '.join(said)}{more_said}. They are not "
        "tested: what is known of them holds for the folds that they were trained on."
    ]


def _lead(c: Comparison, other: str) -> str:
    """By how much the chosen model leads another, with the interval of that alone."""
    pair = c.pair(c.chosen, c.models.index(other))
    lead, low, high = pair.difference, pair.ci_low, pair.ci_high
    if pair.model_b == c.models[c.chosen]:
        lead, low, high = -lead, -high, -low
    return f"{100 * lead:+.1f} ({interval(low, high, sign='+')})"


def _late(c: Comparison) -> list[str]:
    """What agreeing on a verdict late does to it."""
    said = "How it is judged was put on record when results were there: nothing shows that it was agreed on before."
    return [said] if c.late else []


def _looks(c: Comparison) -> list[str]:
    """What taking the verdict again and again does to it."""
    if c.looks <= c.terms.looks:
        return []
    return [
        f"This is verdict {c.looks} on a growing number of folds, where {c.terms.looks} "
        f"{'was' if c.terms.looks == 1 else 'were'} agreed on: stopping at the first one that pleases errs more often "
        "than 5% of the time."
    ]


def _controls(c: Comparison) -> list[str]:
    """What one candidate under two seeds says of all the others."""
    if not c.controls:
        return []
    widest = max((c.pair(a, b) for a, b in c.controls), key=lambda p: abs(p.difference))
    said = (
        f"A/A control: {widest.model_a} and {widest.model_b} are one candidate under two seeds and lie "
        f"{100 * abs(widest.difference):.1f} points apart, by chance: a difference of that size is no evidence."
    )
    called = [p for a, b in c.controls if (p := c.pair(a, b)).better]
    return [said, *(f"The verdict calls {p.better} better than itself: do not trust it here." for p in called)]


def _mixed(c: Comparison) -> list[str]:
    """Where the chosen model differs from another in more than one thing."""
    said = {}
    for i in range(len(c.models)):
        parted, same_network = c.parted_in(c.chosen, i), c.same_network(c.chosen, i)
        if i != c.chosen and len(parted) + (not same_network) > 1:
            said[i] = parted if same_network else [*parted, "network"]
    if not said:
        return []
    what = [name for name in (*c.decisions, "network") if any(name in names for names in said.values())]
    return [
        f"From {listed([c.models[i] for i in said])} it differs in more than one thing ({', '.join(what)}): which of "
        "these makes the difference, this study does not say."
    ]


def _given_encoder(c: Comparison) -> list[str]:
    encoders = {m: encoders_of(results) for m, results in zip(c.models, c.results, strict=True)}
    on_encoder = [model for model, fingerprints in encoders.items() if len(fingerprints) == 1]
    if not on_encoder:
        return []
    which = "this encoder" if len(set.union(*(encoders[model] for model in on_encoder))) == 1 else "their encoders"
    return [
        f"All said of {listed(on_encoder)} holds given {which}: "
        "one pre-training stands behind all folds, and how much another would have changed is not in any interval."
    ]


def on_early_stopping(c: Comparison) -> list[str]:
    """Whether stopping early means a lower cross-entropy and a lower accuracy, as the paper says (section III)."""

    def named(found: Iterable[EarlyStopping]) -> str:
        return listed([e.model for e in found]) or "none"

    early = c.early_stopping
    return [
        "The paper found that early stopping lowers cross-entropy and accuracy, and did without it. At the epoch of the"
        " lowest held-out cross-entropy, accuracy is lower than at the end, beyond its interval, for "
        f"{named(e for e in early if e.accuracy_high < 0)}, higher for "
        f"{named(e for e in early if e.accuracy_low > 0)}; cross-entropy is lower for "
        f"{named(e for e in early if e.cross_entropy_high < 0)}.",
        "The held-out fold chose the epoch, so this is more than stopping by other images would give; intervals are of "
        "each model alone.",
    ]


def on_test(metrics: Mapping[str, Any]) -> list[str]:
    """What the test split says of the final run, by its metrics."""
    alone, together = metrics["test"], metrics["test_ensemble"]
    low, high = statistics.wilson(alone["accuracy"], alone["count"])
    return [
        f"On the test split {metrics['model']}, trained on all images, classifies {alone['accuracy']:.2%} correctly "
        f"(95% interval {percent(low)} to {percent(high)} for other images of the kind, this network as it is), "
        f"cross-entropy {alone['cross_entropy']:.3f}.",
        f"The networks of its folds, voting together, classify {together['accuracy']:.2%} correctly, cross-entropy "
        f"{together['cross_entropy']:.3f}.",
    ]


def looked(metrics: Mapping[str, Any]) -> str:
    """How often the test split has been looked at, by the metrics of a final run."""
    times = "once" if metrics["test_looks"] == 1 else f"{metrics['test_looks']} times"
    others = metrics.get("test_looks_of_data", metrics["test_looks"]) - metrics["test_looks"]
    elsewhere = f", and {others} more for other studies on this machine" if others > 0 else ""
    return f"The test split has been looked at {times}{elsewhere}"


def outcome_of(pair: Pair) -> str:
    """What is said of a pair, with names."""
    return f"{pair.better} better" if pair.better else str(pair.outcome)
