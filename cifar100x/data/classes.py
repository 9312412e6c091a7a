"""Classes of images; the 100 classes of CIFAR-100 and their 20 superclasses, in the order of the official labels.

Both lists are alphabetical in the official archive, so a label is a position in them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from cifar100x.errors import UserError

LONGEST_NAME = 200
SUPERCLASS_MEMBERS: dict[str, tuple[str, ...]] = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
"""Each superclass with its five classes (https://www.cs.toronto.edu/~kriz/cifar.html)."""

SUPERCLASSES: tuple[str, ...] = tuple(SUPERCLASS_MEMBERS)
"""The 20 superclass names; coarse label c is SUPERCLASSES[c]."""

CLASSES: tuple[str, ...] = tuple(sorted(c for members in SUPERCLASS_MEMBERS.values() for c in members))
"""The 100 class names; fine label f is CLASSES[f]."""

COARSE_OF_FINE: tuple[int, ...] = tuple(
    next(coarse for coarse, members in enumerate(SUPERCLASS_MEMBERS.values()) if name in members) for name in CLASSES
)
"""Coarse label of each fine label."""


@dataclass(frozen=True)
class Classes:
    """What labels mean.

    Attributes:
        names: of the classes, in order of the labels.
        superclasses: their names; empty where classes have none.
        superclass_of: of each class, a position in `superclasses`; empty where they have none.
    """

    names: tuple[str, ...]
    superclasses: tuple[str, ...] = ()
    superclass_of: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if (self.superclasses or self.superclass_of) and len(self.superclass_of) != len(self.names):
            raise UserError(f"{len(self.superclass_of)} of {len(self.names)} classes have a superclass")
        for name in (*self.names, *self.superclasses):
            if not (isinstance(name, str) and name.isprintable() and 0 < len(name) <= LONGEST_NAME):
                raise UserError(
                    f"a class is called {str(name)[:40]!r}, expected 1..{LONGEST_NAME} printable characters"
                )
        if any(not isinstance(place, int) or not 0 <= place < len(self.superclasses) for place in self.superclass_of):
            raise UserError(f"a class has a superclass that is none of {len(self.superclasses)}")

    def __len__(self) -> int:
        return len(self.names)

    def superclass(self, label: int) -> str | None:
        """The name of a class's superclass, if it has one."""
        return self.superclasses[self.superclass_of[label]] if self.superclasses else None

    @classmethod
    def of(cls, lists: Mapping[str, Sequence[Any]]) -> Self:
        """As `vars` of one were written to a file."""
        return cls(*(tuple(lists.get(name, ())) for name in ("names", "superclasses", "superclass_of")))


CIFAR100 = Classes(CLASSES, SUPERCLASSES, COARSE_OF_FINE)
