"""Order and makespan, against every possible schedule and a published worst case."""

from itertools import product

import numpy as np
import pytest

from cifar100x.sweep.schedule import longest_first, makespan


def best_possible(costs, num_slots):
    """The shortest makespan of all assignments of jobs to slots, tried one by one."""
    return min(
        max(sum(cost for cost, slot in zip(costs, slots, strict=True) if slot == s) for s in range(num_slots))
        for slots in product(range(num_slots), repeat=len(costs))
    )


def ends(costs, order, num_slots):
    return makespan([costs[job] for job in order], num_slots)


@pytest.mark.parametrize("num_slots", [1, 2, 3])
def test_longest_first_is_within_graham_s_bound_of_the_best(num_slots):
    generator = np.random.default_rng(0)
    for _ in range(20):
        costs = generator.integers(1, 20, 7).tolist()
        best = best_possible(costs, num_slots)
        found = ends(costs, longest_first(costs), num_slots)
        assert best <= found <= (4 / 3 - 1 / (3 * num_slots)) * best + 1e-9


def test_graham_s_worst_case():
    """Jobs 5, 5, 4, 4, 3, 3, 3 on 3 slots take 11 longest first, where 9 is possible (Graham 1969, figure 5)."""
    costs = [5, 5, 4, 4, 3, 3, 3]
    assert best_possible(costs, 3) == 9
    assert ends(costs, longest_first(costs), 3) == 11


def test_a_long_job_at_the_end_is_alone():
    costs = [1, 1, 1, 1, 4]
    assert ends(costs, range(5), 2) == 6
    assert ends(costs, longest_first(costs), 2) == 4


def test_no_slot():
    with pytest.raises(ValueError, match="num_slots is 0"):
        makespan([3.0], 0)


def test_equal_jobs_keep_their_order():
    assert longest_first([1, 2, 1, 2]) == [1, 3, 0, 2]
