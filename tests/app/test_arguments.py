"""Values of a config against what takes them."""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import pytest

from cifar100x.app.arguments import checked, make, maker
from cifar100x.errors import UsageError, UserError


class Inner(TypedDict):
    rate: float
    steps: NotRequired[int]


class Outer(TypedDict):
    name: str
    count: int | None
    inner: Inner
    sides: NotRequired[Sequence[int]]
    of: NotRequired[dict[str, Any]]


def build(width: int, *, layers: Sequence[int], rate: float = 0.5):
    if width < 0:
        raise UserError(f"width is {width}, expected at least 0")
    return width, layers, rate


def handed_on(**options):
    return build(**options)


NODE = {"_target_": f"{__name__}.build", "width": 3, "layers": [1, 2]}


def test_values_that_fit():
    values = {"name": "x", "count": None, "inner": {"rate": 1}}
    assert checked(values, Outer) == values
    assert checked({**values, "name": 2026}, Outer)["name"] == "2026"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"naem": "x"}, "naem: no such key; did you mean 'name'?"),
        ({"count": "many"}, "count is 'many', expected an integer or null"),
        ({"inner": {"rat": 1.0}}, "inner.rat: no such key; did you mean 'inner.rate'?"),
        ({"inner": {"rate": "fast"}}, "inner.rate is 'fast', expected a number"),
        ({"inner": {"steps": 1}}, "inner lacks rate"),
        ({"inner": {"rate": True}}, "inner.rate is True, expected a number"),
        ({"count": False}, "count is False, expected an integer or null"),
        ({"inner": 3}, "inner is 3, expected the keys rate, steps"),
        ({"sides": [1.5]}, "sides is [1.5], expected a list, each of it an integer"),
        ({"of": "x"}, "of is 'x', expected names and values, as in {a: 1}"),
    ],
)
def test_values_that_do_not(change, message):
    with pytest.raises(UsageError) as error:
        checked({"name": "x", "count": 1, "inner": {"rate": 1.0}, **change}, Outer)
    assert str(error.value) == message


def test_a_target_is_called_with_its_arguments():
    assert maker(NODE, "net")() == (3, [1, 2], 0.5)
    assert make(NODE, "net", rate=0.1) == (3, [1, 2], 0.1)
    nested = {"_target_": f"{__name__}.handed_on", **{k: v for k, v in NODE.items() if k != "_target_"}}
    assert maker(nested, "net")() == (3, [1, 2], 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widht": 3}, "net.widht: build takes no such argument; did you mean 'width'?"),
        ({"layers": [1, "two"]}, "net.layers is [1, 'two'], expected a list, each of it an integer"),
        ({"_target_": "nowhere.at_all"}, "net._target_: nowhere.at_all cannot be imported (No module named 'nowhere')"),
        ({"_target_": f"{__name__}.NODE"}, f"net._target_: {__name__}.NODE is a dict, expected a class or function"),
        ({"_target_": 3}, "net._target_ is 3, expected the name of a class or function, as in module.Class"),
    ],
)
def test_a_target_that_cannot_be_called(change, message):
    with pytest.raises(UsageError) as error:
        maker({**NODE, **change}, "net")
    assert str(error.value) == message


def test_what_a_constructor_says_comes_through():
    with pytest.raises(UserError, match="width is -1, expected at least 0"):
        maker({**NODE, "width": -1}, "net")()
    with pytest.raises(UsageError, match=r"net: .*handed_on cannot be made: .*unexpected keyword argument 'depth'"):
        maker({"_target_": f"{__name__}.handed_on", "width": 1, "layers": [], "depth": 3}, "net")()
