"""Which job first, and when the last one ends: list scheduling, as any queue in front of equal slots does it."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


def longest_first(costs: Sequence[float]) -> list[int]:
    """The order of jobs that leaves no slot with a long one alone at the end; equal costs keep their order.

    The makespan is then at most 4/3 - 1/(3 slots) of the shortest possible (Graham 1969, theorem 2).
    """
    return sorted(range(len(costs)), key=lambda job: -costs[job])


@dataclass(frozen=True)
class Timetable:
    """When jobs run.

    Attributes:
        makespan: when the last one ends, in the unit of the costs.
        idle: share of the slots' time until then in which nothing runs, 0..1.
    """

    makespan: float
    idle: float


def timetable(costs: Sequence[float], num_slots: int) -> Timetable:
    """Give each job, in this order, to the slot that is free first.

    Raises:
        ValueError: no slot.
    """
    if num_slots < 1:
        raise ValueError(f"num_slots is {num_slots}, expected at least 1")
    free = [0.0] * num_slots  # when each slot is, a heap
    for cost in costs:
        heapq.heapreplace(free, free[0] + cost)
    makespan = max(free)
    idle = 1 - sum(costs) / (makespan * num_slots) if makespan else 0.0
    return Timetable(makespan, idle)


def shortest_makespan(costs: Sequence[float], num_slots: int) -> float:
    """What no schedule undercuts: the longest job, and all of them spread evenly."""
    return max(max(costs, default=0.0), sum(costs) / num_slots)
