"""Tables on a terminal, in a pipe, and how wide they may be."""

import io

import pytest
from rich.console import Console

import cifar100x
from cifar100x.report import tables
from tests.test_study import hand_made_study


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "s"
    hand_made_study(path, {f"arch{i}-hyp1-with-batch-statistics": 0.3 + i / 100 for i in range(9)}, num_folds=2)
    return cifar100x.open_study(path).comparison


@pytest.mark.parametrize(("is_terminal", "width"), [(False, 80), (True, 200), (True, 80), (True, 70)])
def test_no_digit_is_lost(is_terminal, width, comparison):
    said = io.StringIO()
    console = Console(file=said, force_terminal=is_terminal, width=width, markup=False, color_system=None)
    tables.show(comparison, "s", [], console)
    assert "…" not in said.getvalue()
    for low, high in zip(comparison.accuracy_low, comparison.accuracy_high, strict=True):
        assert tables.interval(low, high) in said.getvalue()
    assert ("Table II" in said.getvalue()) == (width > 70), "where it has room"
    if is_terminal:
        assert max(map(len, said.getvalue().splitlines())) <= width
