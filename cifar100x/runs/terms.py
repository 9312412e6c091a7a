"""How a study is to be judged."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cifar100x.errors import UserError


@dataclass(frozen=True)
class Terms:
    """How a study is to be judged.

    Attributes:
        rope: region of practical equivalence: differences of accuracy up to this, a fraction, count as none.
        variances: how the variance of a difference is estimated: `own`, from its own folds, or `moderated`, with those
            of all differences (`cifar100x.verdict.statistics.moderated`).
        looks: at how many numbers of folds the verdict is taken; each has an equal share of the 5%.
        baseline: the candidate that all others are compared with, and no others; None compares all with all.

    Raises:
        UserError: a value that cannot be.
    """

    rope: float = 0.01
    variances: str = "own"
    looks: int = 1
    baseline: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.rope, int | float) or not 0 <= self.rope < 1:
            raise UserError(f"rope is {self.rope}, expected a fraction, from 0 to below 1 (0.01 is one point)")
        if self.variances not in ("own", "moderated"):
            raise UserError(f"variances is {self.variances!r}, expected own or moderated")
        if not isinstance(self.looks, int) or self.looks < 1:
            raise UserError(f"looks is {self.looks}, expected at least 1")

    @property
    def alpha(self) -> float:
        """The chance of any false *better* in one verdict, and again of any false *equivalent*; 5% over all looks."""
        return 0.05 / self.looks

    def with_wishes(self, wishes: Mapping[str, Any]) -> "Terms":
        """The same, but for those that somebody names; what is None stays."""
        return Terms(
            **{name: value if wishes.get(name) is None else wishes[name] for name, value in asdict(self).items()}
        )
