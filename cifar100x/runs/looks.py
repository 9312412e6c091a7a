"""Every look at a test split, on record beside the images: deleting a study makes none undone."""

from datetime import UTC, datetime
from pathlib import Path

from cifar100x.disk.locking import locked
from cifar100x.disk.reading import DAMAGED, read_json
from cifar100x.disk.writing import write_json
from cifar100x.errors import UserError


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
        """`study`, `model` and `time` of each look, the first one first; UserError if the record is damaged."""
        if not self.path.exists():
            return []
        try:
            found = read_json(self.path)
            if not isinstance(found, list) or not all({"study", "model", "time"} <= look.keys() for look in found):
                raise ValueError("it holds no looks")
        except DAMAGED as error:
            raise UserError(f"{self.path}, the record of looks, is damaged ({error}): restore or remove it") from error
        return found

    def of_study(self, study: Path) -> list[dict[str, str]]:
        """Those of one study."""
        return [look for look in self.all if look["study"] == str(study.resolve())]
