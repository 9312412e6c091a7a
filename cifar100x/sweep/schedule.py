"""Which job first, and when the last one ends: list scheduling, as any queue in front of equal slots does it."""

import heapq
from collections.abc import Sequence


def longest_first(costs: Sequence[float]) -> list[int]:
    """The order of jobs that leaves no slot with a long one alone at the end; equal costs keep their order.

    The makespan is then at most 4/3 - 1/(3 slots) of the shortest possible (Graham 1969, theorem 2).
    """
    return sorted(range(len(costs)), key=lambda job: -costs[job])


def makespan(costs: Sequence[float], num_slots: int) -> float:
    """When the last job ends, in the unit of the costs, if each, in this order, goes to the slot that is free first.

    Raises:
        ValueError: no slot.
    """
    if num_slots < 1:
        raise ValueError(f"num_slots is {num_slots}, expected at least 1")
    free = [0.0] * num_slots  # when each slot is, a heap
    for cost in costs:
        heapq.heapreplace(free, free[0] + cost)
    return max(free)
