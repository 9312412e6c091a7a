"""What a verdict rests on, in sentences: what a reader must know to take it for what it is."""

from typing import Any

import numpy as np

from cifar100x.report.numbers import listed, percent, points
from cifar100x.runs.identity import flat
from cifar100x.verdict import simulation
from cifar100x.verdict.comparison import Comparison
from cifar100x.verdict.pairs import Outcome

CHOICE = (
    "Where the paper's rows disagree, the model that wins most of them is chosen, of those the more accurate: that is "
    "this tool's rule, the paper has none. An interval of one model's accuracy does not rank it against another, which "
    "saw the same folds: the intervals of differences do."
)


def rests_on(c: Comparison) -> list[str]:
    """What a reader must know to take the verdict for what it is."""
    said = []
    num_compared = c.accuracies.shape[1]
    if num_compared < c.num_folds:
        said.append(f"Of {c.num_folds} folds {num_compared} {'is' if num_compared == 1 else 'are'} compared.")
    if c.pairs and num_compared > 1:
        said += [*_error_rates(c), *_power(c), CHOICE]
    if c.eliminated:
        chance = sum(e.chance for e in c.eliminated)
        said.append(
            "A race predicts which candidate the full study would have put first, by accuracy, from the folds so far. "
            f"The chances of the {len(c.eliminated)} that it eliminated come to {chance:.2g} together."
        )
        if c.pairs:
            said.append(
                "Comparisons with them count among those that the others are corrected for: a race makes no difference "
                "significant."
            )
    said.append(
        f"Cross-validation judges training on {c.num_folds - 1} of {c.num_folds} parts of the images; trained on all, "
        "a network is usually better, so held-out accuracies are compared with each other and not with those of a test "
        "split."
    )
    if len(c.models) + len(c.eliminated) > 1 and num_compared > 1:
        said.append(
            "The accuracy of the one chosen is optimistic, because it was chosen by it (Varma and Simon 2006); the "
            "test split tells, once."
        )
    if any(runs[0].metrics.get("reading") == "reported" for runs in c.results):
        found = "" if c.metrics["data"]["name"] != "cifar100" else "; it was chosen on fold 0 of these images"
        said.append(
            f"The reading reported contradicts the paper's text, which drops units and normalises batches{found}."
        )
    return [*said, *_as_run(c)]


def _error_rates(c: Comparison) -> list[str]:
    independent, sharing = (
        percent(simulation.false_winners(simulation.paper_names_a_winner, len(c.models), c.accuracies.shape[1], rho))
        for rho in (0.0, 1 / c.num_folds)
    )
    own = "moderated over all pairs (Smyth 2004)" if c.terms.variances == "moderated" else "of its own folds"
    return [
        f"The paper's bound is one-sided, at 5% a direction and pair. Among {len(c.models)} equal models its rule "
        f"names a false winner in {independent} of simulated studies if folds are independent, in {sharing} if they "
        f"are correlated by 1/{c.num_folds}.",
        f"What is called better stands two-sided at {c.terms.alpha:.2g} for all {c.num_tests} comparisons together "
        f"(Holm 1979), each with the variance {own}, corrected for shared training images (Nadeau and Bengio 2003). "
        "For folds that correction is a heuristic (Bouckaert and Frank 2004): no unbiased variance of cross-validation "
        "exists (Bengio and Grandvalet 2004).",
        "Equivalent means that two one-sided tests, adjusted alike, place the difference within "
        f"±{points(c.terms.rope)} points, a region that was fixed before the results; undecided means neither, "
        "not that there is no difference.",
    ]


def _power(c: Comparison) -> list[str]:
    tested = [p for p in c.pairs if p.outcome != Outcome.NOT_TESTED]

    def middle(of: str) -> str:
        return f"{100 * np.median([getattr(p, of) for p in tested]):.1f}"

    adjusted = (
        f", and {middle('detectable_holm')} as the first of {c.num_tests} in Holm's order" if c.num_tests > 1 else ""
    )
    shares = [p.training_share for p in tested if p.training_share is not None]
    noise = (
        [
            f"In the median pair {100 * np.median(shares):.0f}% of the variance between folds comes from training, and "
            "not from which images were held out: a rough estimate, as of few folds all are. Seeds make less of what "
            "weights and order of batches add to it, repetitions also of what the cut adds, more images of the rest."
        ]
        if shares
        else []
    )
    remedies, second = ["More repetitions"], ""
    if len(c.models) > 2:  # one difference alone has nothing to share, and is one test
        remedies += [] if c.terms.variances == "moderated" else ["moderated variances"]
        second = "" if c.terms.baseline else ", a baseline the second of these"
    return [
        *noise,
        f"For the median pair, a difference of {middle('detectable')} points would be found four times in five by its "
        f"own test{adjusted}; each pair's numbers are in pairs.csv. {listed(remedies)} "
        f"lower them{second}; smaller differences may still be found, less often.",
    ]


def _as_run(c: Comparison) -> list[str]:
    """What is easily overlooked in how the study was run."""
    said = []
    configs = [flat(results[0].config) for results in c.results]
    drawn_anew = [model for model, config in zip(c.models, configs, strict=True) if config.get("data.reshuffle")]
    if drawn_anew:
        whose = "" if len(drawn_anew) == len(c.models) else f" of {listed(drawn_anew)}"
        said.append(f"Batches{whose} were drawn anew every epoch; the paper may not have done so.")
    epochs = [results[0].metrics.get("epochs") for results in c.results]
    columns: list[tuple[str, list[Any], Any]] = [("folds", [c.num_folds], 5), ("epochs", epochs, 50)]
    for key, name, usual in (
        ("data.batch_size", "batch size", 50),
        ("data.limit", "images limited to", None),
        ("width.multiplier", "width multiplier", 1.0),
    ):
        columns.append((name, [config.get(key) for config in configs], usual))
    changed = [
        f"{name} {listed([str(value) for value in others])}"
        for name, values, usual in columns
        if (others := dict.fromkeys(value for value in values if value not in (None, usual)))
    ]
    if changed:
        said.append(f"Other than the paper: {', '.join(changed)}.")
    if c.metrics["data"]["name"] == "cifar100":
        said.append(
            "About 10% of CIFAR-100's test images have near-duplicates among the training images (arXiv 1902.00423)."
        )
    return said
