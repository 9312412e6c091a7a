"""What the paper claims, sentence by sentence, and what the runs say of it.

Each function is a claim: it gives whether it holds, None where that cannot be told, and the numbers that say so. What
asks for the scatter between folds cannot be told from one. A claim whose runs are not there yet is told as such.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cifar100x.report.numbers import interval
from cifar100x.report.page import PAPER

Row = Mapping[str, Any]
Judgement = tuple[bool | None, str]
OUTCOMES = {True: "holds", False: "does not hold", None: "cannot be told"}
TABLE_2 = np.array(
    [
        [0.0000, -0.0422, -0.0621, -0.0126, -0.0574, -0.0687, 0.0586, 0.1470],
        [0.0422, 0.0000, -0.0199, 0.0296, -0.0152, -0.0265, 0.1008, 0.1892],
        [0.0621, 0.0199, 0.0000, 0.0495, 0.0047, -0.0066, 0.1207, 0.2091],
        [0.0126, -0.0296, -0.0495, 0.0000, -0.0448, -0.0561, 0.0712, 0.1596],
        [0.0574, 0.0152, -0.0047, 0.0448, 0.0000, -0.0113, 0.1160, 0.2043],
        [0.0687, 0.0265, 0.0066, 0.0561, 0.0113, 0.0000, 0.1273, 0.2156],
        [-0.0586, -0.1008, -0.1207, -0.0712, -0.1160, -0.1273, 0.0000, 0.0883],
        [-0.1470, -0.1892, -0.2091, -0.1596, -0.2043, -0.2156, -0.0883, 0.0000],
    ]
)
"""The paper's Table II, as printed, in the order of its Table I."""
CHANCE = 0.01
MISSED = 10
"""Classes that are called missed: those with the lowest accuracy."""
NEAR = 0.01
"""Differences of accuracy up to this count as none, as in a study."""
EPOCHS = 50
"""Of a training of the paper."""
IMAGES = 40_000
"""That a training of the paper sees in every epoch."""


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
        by: what it is judged by.
    """

    sentence: str
    outcome: str
    numbers: str
    by: str


ONE = "Arch1-Hyp1, fold 0"
RANKED = "the ranking"
MODERN = "the recipe `modern`"
NUM_FOLDS = 5
ON_GPU = "gpu-table1"
"""Fold 0 with all images, of those networks that were affordable."""
CLAIMS: list[tuple[str, str, Callable[[Rows], Judgement]]] = []


def claim(sentence: str, by: str) -> Callable[[Callable[[Rows], Judgement]], Callable[[Rows], Judgement]]:
    """Judge a sentence of the paper by a function; the page has them in the order of the file."""

    def added(judge: Callable[[Rows], Judgement]) -> Callable[[Rows], Judgement]:
        CLAIMS.append((sentence, by, judge))
        return judge

    return added


def judged(rows: Rows) -> list[Claim]:
    """All claims."""
    found = []
    for sentence, by, judge in CLAIMS:
        try:
            holds, numbers = judge(rows)
            found.append(Claim(sentence, OUTCOMES[holds], numbers, by))
        except NotRunError:
            found.append(Claim(sentence, "not run yet", "", by))
    return found


def percent(fraction: float) -> str:
    """With two digits, as the paper has them."""
    return f"{100 * fraction:.2f}%"


def points(change: float) -> str:
    """A change of a share in points."""
    return f"{100 * change:+.1f} points"


def reported(rows: Rows) -> Row:
    """The paper's first network without dropout and batch statistics, fold 0 whole."""
    return rows.of("readings", "arch1-hyp1")


def sign(low: float, high: float) -> int:
    """Of a difference that is surely not 0 by its interval, else 0."""
    return int(low > 0) - int(high < 0)


@claim("Arch1-Hyp1: average accuracy 35.07%, average cross-entropy 6.58 (Table I).", "Arch1-Hyp1, its folds")
def first_row(rows: Rows) -> Judgement:
    """Whether the interval of the mean lies near the paper's mean, and the cross-entropy, too."""
    row, (accuracy, cross_entropy) = rows.of("table1", "arch1-hyp1"), PAPER["arch1-hyp1"]
    low, high = row["accuracy_low"] - accuracy, row["accuracy_high"] - accuracy
    bounds = interval(row["accuracy_low"], row["accuracy_high"], 2)
    near = max(-low, high) <= NEAR and abs(row["cross_entropy_mean"] / cross_entropy - 1) < 0.05
    return (True if near else False if low > NEAR or high < -NEAR else None), (
        f"{percent(row['accuracy_mean'])} ({bounds}), {row['cross_entropy_mean']:.2f}, over {row['folds']} of "
        f"{NUM_FOLDS} folds"
    )


@claim("Finally we pass this through a dropout layer with 80% dropout rate to reduce overfitting.", ONE)
def written(rows: Rows) -> Judgement:
    """Whether anything is learnt so; the table has 35.07%. What was stopped early does not tell."""
    row = rows.of("readings", "arch1-hyp1-written")
    learnt = row["accuracy_mean"] > 2 * CHANCE
    return (None if row["epochs"] < EPOCHS else learnt), (
        f"so trained it has {percent(row['accuracy_mean'])} after {row['epochs']} of {EPOCHS} epochs and cross-entropy "
        f"{row['cross_entropy_mean']:.3f}; guessing evenly gives {percent(CHANCE)} and {-np.log(CHANCE):.3f}"
    )


@claim("… a maxpooling layer with pool size of 2, followed by batch-normalization.", ONE)
def batch_norm(rows: Rows) -> Judgement:
    """What it would change in the table, without dropout; one fold does not tell what the authors ran."""
    row, (accuracy, cross_entropy) = rows.of("readings", "arch1-hyp1-batchnorm"), PAPER["arch1-hyp1"]
    return None, (
        f"with batch statistics {_end(row)}, with fixed ones {_end(reported(rows))}; Table I has {percent(accuracy)} "
        f"and {cross_entropy:.2f}; with batch statistics accuracy is best after epoch {row['best_epoch']:g}, "
        f"{percent(row['best_accuracy'])}, and falls from there, where the paper's still improves"
    )


@claim("… after epoch 5 the error on the validation set stops decreasing …", ONE)
def turn(rows: Rows) -> Judgement:
    """Where it turns, of another network than theirs and in both orders of the batches."""
    drawn, fixed = (row["early"]["epoch"] for row in (reported(rows), rows.of("readings", "arch1-hyp1-fixed-order")))
    return None, (
        f"cross-entropy is lowest after epoch {drawn:g} where batches are drawn anew in every epoch, after epoch "
        f"{fixed:g} where they are not; Fig. 2 shows Arch2-Hyp3"
    )


@claim("… and actually begins increasing rapidly for a time before leveling out.", ONE)
def rise(rows: Rows) -> Judgement:
    """Of the cross-entropy: from its lowest to the end, and late against early."""
    row = reported(rows)
    curve, lowest = np.array(row["curves"]["val_cross_entropy"]), row["early"]["cross_entropy"]
    middle, late = curve[-20:-10].mean(), curve[-10:].mean()
    return bool(late > 1.5 * lowest and late - middle < 0.25 * (middle - lowest)), (
        f"from {lowest:.2f} to {middle:.2f} in epochs {len(curve) - 19} to {len(curve) - 10} and {late:.2f} in epochs "
        f"{len(curve) - 9} to {len(curve)} (means)"
    )


@claim("However, the train cross-entropy continues to drop well past that point.", ONE)
def training(rows: Rows) -> Judgement:
    """From epoch 5 to the last, each the mean over its batches."""
    curve = reported(rows)["curves"]["train_cross_entropy"]
    return curve[-1] < 0.5 * curve[4], f"from {curve[4]:.2f} in epoch 5 to {curve[-1]:.2f} in epoch {len(curve)}"


@claim(
    "… although the cross-entropy on the test-set increases dramatically, the accuracy on the test-set actually still "
    "improves slightly.", ONE,
)  # fmt: skip
def slight_gain(rows: Rows) -> Judgement:
    """From the epoch of the lowest cross-entropy to the last."""
    row, early = reported(rows), reported(rows)["early"]
    late = np.array(row["curves"]["val_accuracy"])[-10:]
    side = sign(-early["accuracy_high"], -early["accuracy_low"])
    fixed = rows.of("readings", "arch1-hyp1-fixed-order")["early"]
    return {1: True, -1: False, 0: None}[side], (
        f"{points(-early['accuracy_change'])} from epoch {early['epoch']:g} to the last, where it wavers by "
        f"{100 * late.std(ddof=1):.1f} points (standard deviation of the last ten epochs); "
        f"{points(-fixed['accuracy_change'])} with batches in one order"
    )


@claim(
    "… Early-Stopping … led to lower cross-entropy, … higher accuracy on the test-set with this turned off.",
    ONE,
)
def early_stopping(rows: Rows) -> Judgement:
    """The lowest cross-entropy against the last epoch, each sure by its interval."""
    change = reported(rows)["early"]
    sides = [sign(change[f"{name}_low"], change[f"{name}_high"]) for name in ("cross_entropy", "accuracy")]
    return (False if 1 in sides else True if sides == [-1, -1] else None), (
        f"stopped, cross-entropy changes by {change['cross_entropy_change']:+.2f} and accuracy by "
        f"{points(change['accuracy_change'])}, the same difference as above"
    )


@claim("… past about 30 epochs there is only small improvement on the test set accuracy.", ONE)
def thirty_epochs(rows: Rows) -> Judgement:
    """The mean from epoch 31 on against that of the five before."""
    curve = np.array(reported(rows)["curves"]["val_accuracy"])
    before, after = curve[25:30].mean(), curve[30:].mean()
    return bool(abs(after - before) < NEAR), (
        f"{percent(before)} in epochs 26 to 30, {percent(after)} in those after (means)"
    )


@claim("We conjecture that these may correspond to classes belonging in the same superclass.", ONE)
def superclasses(rows: Rows) -> Judgement:
    """Whether the classes most missed share superclasses more often than classes drawn by lot."""
    missed = reported(rows)["missed"]
    return (True if missed["p"] < 0.05 else None), (
        f"{missed['almost_all']} of the classes are missed in nine of ten cases or more; of the {MISSED} most missed "
        f"{missed['pairs']} pairs share a superclass, {missed['expected']:.1f} are expected by chance "
        f"(p = {missed['p']:.2f})"
    )


@claim("… each fold can be considered an independent investigation.", "the folds")
def independent_folds(rows: Rows) -> Judgement:
    """By what the training images of two folds share."""
    return False, (
        f"any two of {NUM_FOLDS} trainings share {percent((NUM_FOLDS - 2) / (NUM_FOLDS - 1))} of their images"
    )


@claim("We believe that deepening the layers … will … provide an improvement in accuracy …", RANKED)
def deeper(rows: Rows) -> Judgement:
    """Arch2 against Arch1 in each width."""
    pairs = [(f"arch2-hyp{width}", f"arch1-hyp{width}") for width in (1, 2, 3)]
    holds, numbers = _pairs(rows, pairs)
    return holds, numbers + _with_all_images(rows, pairs)


@claim("… interested to see if … increasing the width … has a significant impact on the prediction accuracy.", RANKED)
def wider(rows: Rows) -> Judgement:
    """Each width against the next smaller one, whichever is the better."""
    pairs = [(f"arch{a}-hyp{w + 1}", f"arch{a}-hyp{w}") for a in (1, 2) for w in (1, 2)]
    outcomes, numbers = _tested(rows, pairs)
    significant = True if {"better", "worse"} & set(outcomes) else None
    return (False if set(outcomes) == {"equivalent"} else significant), numbers + _with_all_images(rows, pairs)


@claim("Retraining the entire encoder stack performed better than training solely the added dense layers …", RANKED)
def retraining(rows: Rows) -> Judgement:
    """The two transfer networks; one that is still learning has not shown what it can."""
    pairs = [("t-arch1", "t-arch2")]
    holds, numbers = _pairs(rows, pairs)
    learnt = rows.of("ranking", "t-arch2")["train_accuracy"]
    if learnt <= 0.5:
        holds = None
        numbers += f"; but t-arch2 is still learning: {percent(learnt)} of its training images are right"
    return holds, numbers + _with_all_images(rows, pairs)


@claim("… our convolutional architectures vastly outperform even the fully retrained transfer model.", RANKED)
def transfer(rows: Rows) -> Judgement:
    """All six of them against it."""
    pairs = [(f"arch{a}-hyp{w}", "t-arch1") for a in (1, 2) for w in (1, 2, 3)]
    holds, numbers = _pairs(rows, pairs)
    return holds, numbers + _with_all_images(rows, pairs)


@claim("We surmise that perhaps we did not use a complex enough architecture for the dense layers …", "T_Arch2")
def dense_layers(rows: Rows) -> Judgement:
    """T_Arch2 with hidden layers twice as wide, on the same encoder: whether that is most of what it lacks."""
    (outcome,), numbers = _tested(rows, [("t-arch2-wide", "t-arch2")], "dense")
    narrow, wide = (rows.of("dense", name)["accuracy_mean"] for name in ("t-arch2", "t-arch2-wide"))
    lacking = rows.of("table1", "arch1-hyp1")["accuracy_mean"] - narrow
    most = outcome == "better" and wide - narrow > lacking / 2
    return (True if most else False if outcome in ("worse", "equivalent") else None), (
        f"{numbers}, where it lacks {100 * lacking:.1f} points of arch1-hyp1"
    )


@claim("We surmise that perhaps … we should have utilized a VAE.", "the encoders")
def variational(rows: Rows) -> Judgement:
    """T_Arch2 on it against that on the sparse one, of which the paper does not say how its norm is reduced."""
    others = ("t-arch2", "t-arch2-autoencoder-mean")
    outcomes, numbers = _tested(rows, [("t-arch2-vae", other) for other in others], "encoders")
    return (outcomes[0] == "better" if len(set(outcomes)) == 1 else None), (
        f"against the norm summed and averaged over the code: {numbers}"
    )


@claim("… statistically found to be optimal when compared to every row-model within Table II.", "Table II as printed")
def table_2(rows: Rows) -> Judgement:
    """Whether Table II can hold the bounds of equation 3 at all."""
    means = np.array([accuracy for accuracy, _ in PAPER.values()])
    apart = np.abs(TABLE_2 - (means[:, None] - means)).max()
    mirrored = np.abs(TABLE_2 + TABLE_2.T).max()
    return None, (
        f"all {TABLE_2.size} entries are the differences of Table I, to {apart:.4f}, and mirrored they add up to "
        f"{mirrored:.4f}; the two bounds of a pair by equation 3 would add up to twice their margin: the table "
        "holds differences and no bounds"
    )


@claim("… any further improvements … likely require increased complexity of the chosen model.", MODERN)
def complexity(rows: Rows) -> Judgement:
    """Smaller networks, trained as it is done today, beside the chosen one: by the lower ends of their intervals."""
    best = PAPER["arch2-hyp3"][0]
    smaller = [rows.of("modern", "arch1-hyp1-modern"), rows.of("gpu-modern", "resnet20-modern")]
    return (False if min(row["accuracy_low"] for row in smaller) > best + NEAR else None), (
        "; ".join(
            f"{row['model']}, {row['parameters']:,} parameters: {percent(row['accuracy_mean'])} "
            f"({interval(row['accuracy_low'], row['accuracy_high'], 2)})"
            for row in smaller
        )
        + f"; the chosen one, of 154,850,788, has {percent(best)} in Table I"
    )


def _end(row: Row) -> str:
    """Accuracy and cross-entropy over the last ten epochs, which waver."""
    accuracy, cross_entropy = (np.mean(row["curves"][f"val_{name}"][-10:]) for name in ("accuracy", "cross_entropy"))
    return f"{percent(accuracy)} and {cross_entropy:.2f} (means of the last ten epochs)"


def _pairs(rows: Rows, pairs: list[tuple[str, str]], study: str = "ranking") -> Judgement:
    """Whether the first of each pair is better in a study, by the corrected test."""
    outcomes, numbers = _tested(rows, pairs, study)
    if all(outcome == "better" for outcome in outcomes):
        return True, numbers
    return (False if {"worse", "equivalent"} & set(outcomes) else None), numbers


def _with_all_images(rows: Rows, pairs: list[tuple[str, str]]) -> str:
    """What one fold shows with all images: differences that nothing is decided by."""
    there = [pair for pair in pairs if rows.get(ON_GPU, {}).keys() >= set(pair)]
    means = {name: rows.of(ON_GPU, name)["accuracy_mean"] for pair in there for name in pair}
    said = ", ".join(f"{a} – {b} {points(means[a] - means[b])}" for a, b in there)
    return f"; with all images, on fold 0 alone: {said}" if said else ""


def _tested(rows: Rows, pairs: list[tuple[str, str]], study: str = "ranking") -> tuple[list[str], str]:
    """What the corrected test says of the first of each pair against the second, and its numbers."""
    outcomes, numbers = [], []
    for better, worse in pairs:
        pair = rows.of(study, better)["pairs"].get(worse)
        if pair is None:
            raise NotRunError
        outcomes.append(pair["outcome"])
        bounds = interval(pair["low"], pair["high"], sign="+")
        numbers.append(f"{better} – {worse}: {points(pair['difference'])} ({bounds}), {pair['outcome']}")
    return outcomes, "; ".join(numbers)
