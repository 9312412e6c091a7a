"""What the paper claims, sentence by sentence, and what the runs say of it.

Each function is a claim: it gives whether it holds, None where that cannot be told, and the numbers that say so. One
whose runs are not there yet is told as such.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cifar100x.report.numbers import interval
from cifar100x.report.page import PAPER

Row = Mapping[str, Any]
Judgement = tuple[bool | None, str]
OUTCOMES = {True: "holds", False: "does not hold", None: "cannot be told"}
TABLE_2 = (0.0, -0.0422, -0.0621, -0.0126, -0.0574, -0.0687, 0.0586, 0.1470)
"""The first row of the paper's Table II: of Arch1-Hyp1 against all, in the order of Table I."""
CHANCE = 0.01
MISSED = 10
"""Classes that are called missed: those with the lowest accuracy."""


class NotRunError(LookupError):
    """The runs that a claim is judged by are not there yet."""


class Rows(dict[str, dict[str, Row]]):
    """What is known of each candidate of each study."""

    def of(self, study: str, candidate: str) -> Row:
        """One of them; NotRunError if there is none."""
        if candidate not in self.get(study, {}):
            raise NotRunError
        return self[study][candidate]


@dataclass(frozen=True)
class Claim:
    """A claim and what became of it.

    Attributes:
        sentence: of the paper.
        outcome: one of `OUTCOMES`, or that its runs are not there yet.
        numbers: that say so.
    """

    sentence: str
    outcome: str
    numbers: str


CLAIMS: list[tuple[str, Callable[[Rows], Judgement]]] = []


def claim(sentence: str) -> Callable[[Callable[[Rows], Judgement]], Callable[[Rows], Judgement]]:
    """Judge a sentence of the paper by a function; the page has them in the order of the file."""

    def added(judge: Callable[[Rows], Judgement]) -> Callable[[Rows], Judgement]:
        CLAIMS.append((sentence, judge))
        return judge

    return added


def judged(rows: Rows) -> list[Claim]:
    """All claims."""
    found = []
    for sentence, judge in CLAIMS:
        try:
            holds, numbers = judge(rows)
            found.append(Claim(sentence, OUTCOMES[holds], numbers))
        except NotRunError:
            found.append(Claim(sentence, "not run yet", ""))
    return found


def percent(fraction: float) -> str:
    """With two digits, as the paper has them."""
    return f"{100 * fraction:.2f}%"


def points(change: float) -> str:
    """A change of a share in points."""
    return f"{100 * change:+.1f} points"


def reported(rows: Rows) -> Row:
    """The paper's first network as its tables have it, fold 0 whole."""
    return rows.of("readings", "arch1-hyp1")


@claim("Arch1-Hyp1 has an average accuracy of 35.07% and an average cross-entropy of 6.58 (Table I).")
def first_row(rows: Rows) -> Judgement:
    """By its five folds."""
    row, (accuracy, _) = rows.of("table1", "arch1-hyp1"), PAPER["arch1-hyp1"]
    within = row["accuracy_low"] <= accuracy <= row["accuracy_high"]
    bounds = interval(row["accuracy_low"], row["accuracy_high"], 2)
    return within, f"{percent(row['accuracy_mean'])} ({bounds}), {row['cross_entropy_mean']:.2f} over five folds"


@claim("A dropout layer with 80% dropout rate follows every layer.")
def written(rows: Rows) -> Judgement:
    """Whether anything is learnt so; the table has 35.07%."""
    row = rows.of("readings", "arch1-hyp1-written")
    return row["accuracy_mean"] > 2 * CHANCE, (
        f"so trained it has {percent(row['accuracy_mean'])} and cross-entropy {row['cross_entropy_mean']:.2f} after "
        f"{row['epochs']} epochs; chance is {percent(CHANCE)}"
    )


@claim("Batch-normalization follows the first two blocks.")
def batch_norm(rows: Rows) -> Judgement:
    """Whether the table could have come from it, without dropout."""
    row, (accuracy, cross_entropy) = rows.of("readings", "arch1-hyp1-batchnorm"), PAPER["arch1-hyp1"]
    found, there = row["accuracy_mean"], reported(rows)["accuracy_mean"]
    return abs(found - accuracy) < abs(there - accuracy), (
        f"active, on fold 0: {percent(found)} and {row['cross_entropy_mean']:.2f}; with fixed statistics "
        f"{percent(there)} and {reported(rows)['cross_entropy_mean']:.2f}; Table I has {percent(accuracy)} and "
        f"{cross_entropy:.2f}"
    )


@claim("We do not shuffle any further.")
def order(rows: Rows) -> Judgement:
    """Whether it matters that batches are the same in every epoch."""
    row, there = rows.of("readings", "arch1-hyp1-fixed-order"), reported(rows)
    return None, (
        f"batches in one order end at {percent(row['accuracy_mean'])} and {row['cross_entropy_mean']:.2f} on fold 0, "
        f"drawn anew at {percent(there['accuracy_mean'])} and {there['cross_entropy_mean']:.2f}: one fold does not "
        "tell which it was"
    )


@claim("After epoch 5 the error on the validation set stops decreasing, and begins increasing rapidly.")
def turn(rows: Rows) -> Judgement:
    """Of the cross-entropy."""
    row = reported(rows)
    epoch, lowest, last = row["early"]["epoch"], row["early"]["cross_entropy"], row["cross_entropy_mean"]
    return last > 1.5 * lowest, (
        f"it is lowest after epoch {epoch:g}, at {lowest:.2f}, and {last:.2f} after epoch {row['epochs']}"
    )


@claim("The error increases rapidly for a time before leveling out.")
def leveling(rows: Rows) -> Judgement:
    """The climb of the last ten epochs against that of the ten after the lowest."""
    row = reported(rows)
    curve, lowest = row["curves"]["val_cross_entropy"], round(row["early"]["epoch"])
    after, late = curve[lowest + 9] - curve[lowest - 1], curve[-1] - curve[-11]
    return late < 0.5 * after, (
        f"it climbs by {after:.2f} in the ten epochs after the lowest and by {late:.2f} in the last ten"
    )


@claim("The train cross-entropy continues to drop well past that point.")
def training(rows: Rows) -> Judgement:
    """From epoch 5 to the last."""
    curve = reported(rows)["curves"]["train_cross_entropy"]
    return curve[-1] < 0.5 * curve[4], f"from {curve[4]:.2f} after epoch 5 to {curve[-1]:.2f} after epoch {len(curve)}"


@claim("The accuracy on the test-set still improves slightly while its cross-entropy increases.")
def slight_gain(rows: Rows) -> Judgement:
    """From the epoch of the lowest cross-entropy to the last."""
    row = reported(rows)
    gain, best = -row["early"]["accuracy_change"], percent(row["best_accuracy"])
    return gain > 0, (f"{points(gain)} from epoch {row['early']['epoch']:g} to the last; the best is {best}")


@claim("Early-Stopping led to lower cross-entropy, but accuracy was higher with it turned off.")
def early_stopping(rows: Rows) -> Judgement:
    """The lowest cross-entropy against the last epoch."""
    change = reported(rows)["early"]
    return change["cross_entropy_change"] < 0 and change["accuracy_change"] < 0, (
        f"stopped, cross-entropy changes by {change['cross_entropy_change']:+.2f} and accuracy by "
        f"{points(change['accuracy_change'])}"
    )


@claim("Past about 30 epochs there is only small improvement on the test set accuracy.")
def thirty_epochs(rows: Rows) -> Judgement:
    """The best from epoch 31 on against the best before."""
    curve = reported(rows)["curves"]["val_accuracy"]
    gain = max(curve[30:]) - max(curve[:30])
    return gain < 0.01, f"the best accuracy after epoch 30 is {points(gain)} from the best before"


@claim("Classes of which almost all are missed may belong to one superclass.")
def superclasses(rows: Rows) -> Judgement:
    """How many errors stay within the superclass, against errors spread evenly."""
    errors = reported(rows)["errors"]
    return errors["of_missed"] > 2 * errors["by_chance"], (
        f"{percent(errors['of_missed'])} of the errors in the {MISSED} classes most missed are within the superclass, "
        f"of all errors {percent(errors['of_all'])}; spread evenly over all classes {percent(errors['by_chance'])} "
        "would be"
    )


@claim("Deepening the layers provides an improvement in accuracy.")
def deeper(rows: Rows) -> Judgement:
    """Arch2 against Arch1 in each width."""
    return _pairs(rows, [(f"arch2-hyp{width}", f"arch1-hyp{width}") for width in (1, 2, 3)])


@claim("Wider layers have a significant impact on the prediction accuracy.")
def wider(rows: Rows) -> Judgement:
    """Each width against the next smaller one."""
    return _pairs(rows, [(f"arch{a}-hyp{w + 1}", f"arch{a}-hyp{w}") for a in (1, 2) for w in (1, 2)])


@claim("Retraining the entire encoder stack performed better than training solely the added dense layers.")
def retraining(rows: Rows) -> Judgement:
    """The two transfer networks."""
    return _pairs(rows, [("t-arch1", "t-arch2")])


@claim("The convolutional architectures vastly outperform even the fully retrained transfer model.")
def transfer(rows: Rows) -> Judgement:
    """The smallest convolutional network against it."""
    return _pairs(rows, [("arch1-hyp1", "t-arch1")])


@claim("Arch2-Hyp3 is statistically found to be optimal when compared to every row-model within Table II.")
def table_2(rows: Rows) -> Judgement:
    """Whether Table II holds bounds at all."""
    means = [PAPER["arch1-hyp1"][0] - accuracy for accuracy, _ in PAPER.values()]
    apart = max(abs(mean - bound) for mean, bound in zip(means, TABLE_2, strict=True))
    return None, (
        f"the entries of Table II are the differences of Table I (the first row to {apart:.4f}): it holds no bounds, "
        "and nothing was tested"
    )


@claim("Any further improvements likely require increased complexity of the chosen model.")
def complexity(rows: Rows) -> Judgement:
    """A network of the year 2015 and a fraction of the parameters, trained as it is done today."""
    row, best = rows.of("recipes", "resnet20-modern"), PAPER["arch2-hyp3"][0]
    return row["accuracy_mean"] <= best, (
        f"a ResNet-20 of {row['parameters']:,} parameters has {percent(row['accuracy_mean'])} on fold 0; the chosen "
        f"one, of 154,850,788, {percent(best)}"
    )


def _pairs(rows: Rows, pairs: list[tuple[str, str]]) -> Judgement:
    """Whether the first of each pair is better in the ranking, by the corrected test."""
    found, numbers = [], []
    for better, worse in pairs:
        rows.of("ranking", worse)
        pair = rows.of("ranking", better)["pairs"][worse]
        found.append(pair["outcome"])
        bounds = interval(pair["low"], pair["high"], sign="+")
        numbers.append(f"{better} – {worse}: {points(pair['difference'])} ({bounds}), {pair['outcome']}")
    if all(outcome == "better" for outcome in found):
        return True, "; ".join(numbers)
    return (False if "worse" in found else None), "; ".join(numbers)
