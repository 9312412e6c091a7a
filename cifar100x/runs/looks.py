"""Every look at a test split, on record beside the images: deleting a study makes none undone."""

import json
from datetime import UTC, datetime
from pathlib import Path

from cifar100x.disk.locking import locked
from cifar100x.disk.writing import write_json


class Looks:
    """The looks at the test split of one data set from this machine.

    Args:
        cache: folder of image stores.
        fingerprint: of the data.
    """

    def __init__(self, cache: Path, fingerprint: str):
        self.path = cache / "looks" / f"{fingerprint}.json"

    def add(self, study: Path, model: str) -> None:
        """Put a look on record, before it is taken."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path.with_suffix(".lock")):
            look = {"study": str(study.resolve()), "model": model, "time": datetime.now(UTC).isoformat("T", "seconds")}
            write_json(self.path, [*self.all, look])

    @property
    def all(self) -> list[dict[str, str]]:
        """`study`, `model` and `time` of each look, the first one first."""
        return json.loads(self.path.read_text()) if self.path.exists() else []

    def of_study(self, study: Path) -> list[dict[str, str]]:
        """Those of one study."""
        return [look for look in self.all if look["study"] == str(study.resolve())]
