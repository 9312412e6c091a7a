"""How a study is to be judged, agreed on before its first result."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cifar100x.disk.locking import locked
from cifar100x.disk.reading import DAMAGED, read_json
from cifar100x.disk.writing import write_json
from cifar100x.errors import UserError
from cifar100x.runs.terms import Terms


class Agreement:
    """What study.json says of a study: its terms, and how often a verdict was taken by them.

    Args:
        study: its folder.
    """

    def __init__(self, study: Path):
        self.study, self.path = study, study / "study.json"

    @property
    def terms(self) -> Terms | None:
        """How the study is to be judged; None before its first run, and where an earlier version began it."""
        return Terms(**self._record["terms"]) if self._record else None

    def refuse_others(self, wishes: Mapping[str, Any]) -> None:
        """Raise UserError if the study is to be judged in another way than somebody names; None names none."""
        agreed = self.terms
        wanted = (agreed or Terms()).with_wishes(wishes)
        if agreed is not None and wanted != agreed:
            there, here = asdict(agreed), asdict(wanted)
            changed = [f"{name} ({there[name]} there, {here[name]} now)" for name in there if there[name] != here[name]]
            raise UserError(
                f"{self.study} is to be judged as its first run had it, which differs in {', '.join(changed)}: what is "
                "decided by cannot change when results are known; leave it out, or choose another study=NAME"
            )

    def settle(self, wishes: Mapping[str, Any]) -> Terms:
        """How the study is to be judged: as it is on record, else as somebody names it now, which is put on record.

        Args:
            wishes: by the names of `Terms`; None leaves the choice.

        Raises:
            UserError: something else is on record, or cannot be.
        """
        self.study.mkdir(parents=True, exist_ok=True)
        with locked(self.study / ".lock"):  # the runs of a sweep may come together
            self.refuse_others(wishes)
            terms = self.terms or Terms().with_wishes(wishes)
            if self.terms is None:
                write_json(self.path, {"schema": 1, "terms": asdict(terms), "looks": [], "late": self.is_late})
        return terms

    @property
    def is_late(self) -> bool:
        """Whether the terms were, or would be, put on record when there are results: what said them before is gone."""
        return self._record.get("late", False) if self._record else any(self.study.glob("*/fold*/metrics.json"))

    def count_look(self, num_folds: int) -> int:
        """Put on record that a verdict is taken on so many folds; return on how many numbers of them one has been.

        On one fold none can be taken. The terms must have been settled before.
        """
        with locked(self.study / ".lock"):
            if (looks := self._looks_with(num_folds)) != self._record["looks"]:
                write_json(self.path, self._record | {"looks": looks})
        return len(looks)

    def num_looks(self, num_folds: int) -> int:
        """What `count_look` would return, with nothing put on record."""
        return len(self._looks_with(num_folds))

    def _looks_with(self, num_folds: int) -> list[int]:
        return sorted({*self._record.get("looks", []), num_folds} - {1})

    @property
    def _record(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        try:
            record = read_json(self.path)
            Terms(**record["terms"])
            if all(isinstance(look, int) for look in record["looks"]):
                return record
        except DAMAGED:
            pass
        raise UserError(
            f"{self.path} is damaged: how the study is judged was agreed on before its results, and only a copy of the "
            "file says how; restore it"
        )
