"""Whatever a disk or a user comes up with: one line, never a traceback; and statistics that keep what they promise.

A few examples each here; `make fuzz MINUTES=30` goes on with others. What was found is kept as @example.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import cifar100x
from cifar100x.app.command_line import CommandLine
from cifar100x.data.folds import repeated_k_folds
from cifar100x.errors import UserError
from cifar100x.runs.study import Study
from cifar100x.runs.terms import Terms
from cifar100x.sweep.progress import planned_runs, progress_of
from cifar100x.verdict import statistics
from cifar100x.verdict.pairs import Judged, Outcome, pairs_of
from tests.conftest import unseal
from tests.test_study import hand_made_study

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FILES = (
    "folds.npz", "study.json", "sweep.json", "a/fold0/config.yaml", "a/fold0/metrics.json", "a/fold0/history.csv",
    "a/fold0/predictions.npz", "a/fold0/status.json", "a/fold0/classes.json", "a/fold0/.progress",
)  # fmt: skip


@pytest.fixture(scope="module")
def healthy(tmp_path_factory) -> Path:
    """A study without seals, so that what is in its files is looked at."""
    path = tmp_path_factory.mktemp("fuzz") / "s"
    hand_made_study(path, {"a": 0.3, "b": 0.4}, num_folds=2, images=50)
    study = Study(path)
    study.add_to_plan("python -m cifar100x.train", {"a/fold0": {"epochs": 1, "flops": 1.0}})
    study.agreement.settle({})
    for run in study.all_runs():
        (run.path / ".progress").write_text("1.0")
        run.write_classes(run.classes)
        unseal(run)
    return path


@fuzzed
@given(
    name=st.sampled_from(FILES),
    edits=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=0, max_size=3)), min_size=1, max_size=4),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
)
@example(name="a/fold0/config.yaml", edits=[(0.0, b"")], kept=0.25)  # a task of three letters
@example(name="a/fold0/config.yaml", edits=[(0.0, b"(")], kept=0.5)  # no schema, and a model that is nothing
def test_a_file_of_a_study_with_other_bytes_in_it(name, edits, kept, healthy, tmp_path):
    study = tmp_path / "s"
    shutil.rmtree(study, ignore_errors=True)
    shutil.copytree(healthy, study)
    content = (study / name).read_bytes()
    for place, new in edits:
        at = int(place * len(content))
        content = content[:at] + new + content[at + len(new) :]
    (study / name).write_bytes(content[: int(kept * len(content))])
    with suppress(UserError):
        assert cifar100x.open_study(study).verdict["chosen"] in ("a", "b")
    with suppress(UserError):
        for planned in planned_runs(Study(study)):
            progress_of(planned)


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@fuzzed
@given(st.lists(st.one_of(words, st.builds("{}={}".format, words, words)), max_size=3))
def test_a_command_line(arguments):
    with suppress(UserError):
        CommandLine(arguments, "train")


@fuzzed
@given(
    st.integers(2, 60).flatmap(
        lambda n: st.tuples(
            st.lists(st.integers(0, 5), min_size=n, max_size=n), st.integers(2, min(n, 7)), st.integers(1, 3),
            st.integers(1, 2), st.booleans(), st.one_of(st.none(), st.integers(7, max(n, 7))),
        )
    )
)  # fmt: skip
def test_folds_share_out_the_images(cut):
    labels, num, repeats, seeds, stratified, limit = cut
    if limit is not None and limit > len(labels):
        limit = None
    folds = repeated_k_folds(
        np.array(labels), num=num, repeats=repeats, seed=1, stratified=stratified, seeds=seeds, limit=limit
    )
    assert len(folds) == num * repeats * seeds
    for start in range(0, len(folds), num):
        images = np.concatenate(folds[start : start + num])
        assert len(set(images.tolist())) == len(images) == (limit or len(labels))
        sizes = [len(fold) for fold in folds[start : start + num]]
        assert max(sizes) - min(sizes) <= (6 if stratified else 1)


accuracies = st.tuples(st.integers(2, 5), st.integers(1, 6)).flatmap(
    lambda shape: arrays(float, shape, elements=st.integers(0, 100).map(lambda percent: percent / 100))
)


@fuzzed
@given(accuracies, st.sampled_from(["own", "moderated"]), st.sampled_from([0.0, 0.01, 0.3]), st.randoms())
@example(np.zeros((2, 1)), "own", 0.0, None)
def test_pairs_keep_their_promises(found, variances, rope, random):
    """Probabilities are such, intervals hold their means, and neither the order of models nor of folds matters."""
    models = [f"m{i}" for i in range(len(found))]
    num_folds = max(found.shape[1], 2)
    judged = Judged(np.arange(found.shape[1]), np.arange(found.shape[1]), found > 0.5, np.full((len(found), 0), np.nan))
    terms = Terms(rope=rope, variances=variances)
    pairs = pairs_of(models, found, num_folds, terms, judged)
    for pair in pairs:
        for name in ("p", "p_holm", "prob_a", "prob_same", "prob_b", "p_equivalent", "mcnemar_p", "p_own_holm"):
            assert -1e-9 <= getattr(pair, name) <= 1 + 1e-9, name
        assert pair.prob_a + pair.prob_same + pair.prob_b == pytest.approx(1)
        assert pair.ci_low <= pair.difference + 1e-12
        assert pair.difference <= pair.ci_high + 1e-12
        assert pair.p <= pair.p_holm + 1e-12
        assert pair.detectable >= 0
    folds = list(range(found.shape[1]))
    order = list(range(len(found)))
    if random:
        random.shuffle(folds)
        random.shuffle(order)
    again = pairs_of([models[i] for i in order], found[np.ix_(order, folds)], num_folds, terms, judged)
    turned = {Outcome.A_BETTER: Outcome.B_BETTER, Outcome.B_BETTER: Outcome.A_BETTER}
    outcomes = {(p.model_a, p.model_b): p.outcome for p in again}
    outcomes |= {(p.model_b, p.model_a): turned.get(p.outcome, p.outcome) for p in again}
    assert all(outcomes[p.model_a, p.model_b] == p.outcome for p in pairs)


@fuzzed
@given(arrays(float, st.integers(1, 30), elements=st.floats(0, 1)))
def test_holm_is_monotone_and_no_less(p):
    adjusted = statistics.holm(p)
    assert ((p - 1e-12 <= adjusted) & (adjusted <= 1)).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()
