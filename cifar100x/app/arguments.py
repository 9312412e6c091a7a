"""Values of a config held against what they are given to: unknown and missing names, and types, told in one line."""

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Never, NotRequired, get_args, get_origin, get_type_hints, is_typeddict

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

from cifar100x.errors import UsageError

WORDS: dict[Any, str] = {int: "an integer", float: "a number", str: "text", bool: "true or false", NoneType: "null"}

NEAR = 0.55  # similarity, as difflib counts it, from which on a word may be meant
FEW = 12  # words that a line can list


def nearest(problem: str, word: str, known: Collection[str]) -> str:
    """What to say of a word that is not among those that are known."""
    if found := difflib.get_close_matches(word, known, n=1, cutoff=NEAR):
        return f"{problem}; did you mean {found[0]!r}?"
    return f"{problem}; expected {' or '.join(sorted(known))}" if 0 < len(known) <= FEW else problem


def checked(values: Mapping[str, Any], taker: Any, key: str = "", given: Collection[str] = ()) -> dict[str, Any]:
    """The values as keyword arguments of what takes them.

    Args:
        values: by name.
        taker: a function or a class, or a TypedDict.
        key: where the values stand in the config, for errors.
        given: arguments that come from elsewhere.

    Raises:
        UsageError: a name is unknown or missing, or a value of another type.
    """
    types, required, takes_any = _expected(taker)
    dot = f"{key}." if key else ""
    found = {}
    for name, value in values.items():
        if name in types and name not in given:
            found[name] = _fitting(value, types[name], f"{dot}{name}")
        elif takes_any:
            found[name] = value
        else:
            known = [other for other in types if other not in given]
            if is_typeddict(taker) or not key:
                raise UsageError(nearest(f"{dot}{name}: no such key", f"{dot}{name}", [f"{dot}{k}" for k in known]))
            raise UsageError(nearest(f"{dot}{name}: {_name(taker)} takes no such argument", name, known))
    if missing := [name for name in required if name not in values and name not in given]:
        raise UsageError(f"{key or 'the config'} lacks {', '.join(missing)}")
    return found


def _expected(taker: Any) -> tuple[dict[str, Any], list[str], bool]:
    """The types of the names that something takes, those that must be there, and whether it takes any other."""
    if is_typeddict(taker):
        hints = get_type_hints(taker, include_extras=True)
        optional = {name for name, hint in hints.items() if get_origin(hint) is NotRequired}
        types = {name: _without_requirement(hint) for name, hint in hints.items()}
        return types, [name for name in hints if name not in optional], False
    try:
        parameters = inspect.signature(taker).parameters.values()
    except ValueError as error:
        raise UsageError(f"{_name(taker)} does not tell which arguments it takes, expected one that does") from error
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    try:
        hints = get_type_hints(taker.__init__ if inspect.isclass(taker) else taker)
    except Exception:  # names that its module knows only while types are checked
        hints = {}
    return (
        {p.name: hints.get(p.name, Any) for p in named},
        [p.name for p in named if p.default is p.empty],
        any(p.kind == p.VAR_KEYWORD for p in parameters),
    )


def _without_requirement(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is NotRequired else hint


def _fitting(value: Any, expected: Any, key: str) -> Any:
    if get_origin(expected) is Annotated and get_args(expected)[0] is Never:
        raise UsageError(f"{key} cannot be chosen: {get_args(expected)[1]}")
    if isinstance(value, Mapping) and "_target_" in value:
        return value  # what it will be is known when it is made
    if is_typeddict(expected) and isinstance(value, Mapping):
        return checked(value, expected, key)
    if isinstance(value, int | float) and not isinstance(value, bool) and expected in (str, str | None):
        return str(value)  # a study may be called 2026
    kinds = get_args(expected) or (expected,)
    if isinstance(value, bool) and bool not in kinds and {int, float} & {*kinds}:  # Python takes it for 0 or 1
        raise UsageError(f"{key} is {value!r}, expected {_words(expected)}")
    for candidate in (value, tuple(value)) if isinstance(value, list) else (value,):  # a config knows no tuples
        try:
            check_type(candidate, expected, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
            return value
        except TypeCheckError:
            continue
    raise UsageError(f"{key} is {value!r}, expected {_words(expected)}")


def _words(expected: Any) -> str:
    if isinstance(expected, UnionType):
        return " or ".join(map(_words, get_args(expected)))
    if get_origin(expected) is Literal:
        return " or ".join(map(str, get_args(expected)))
    if is_typeddict(expected):
        return f"the keys {', '.join(expected.__annotations__)}"
    if isinstance(origin := get_origin(expected), type) and issubclass(origin, Mapping):
        return "names and values, as in {a: 1}"
    if isinstance(origin, type) and issubclass(origin, Collection) and get_args(expected):
        return f"a list, each of it {_words(get_args(expected)[0])}"
    return WORDS.get(expected) or str(expected).replace("typing.", "").replace("collections.abc.", "")


def located(path: str, key: str) -> Any:
    """What a config names under `_target_`, where it stands; UsageError if it cannot be imported."""
    try:
        return get_object(path)
    except Exception as error:  # whatever importing somebody's module may raise
        reason = str(error.__cause__ or error).splitlines()[-1]
        raise UsageError(f"{key}._target_: {path} cannot be imported ({reason})") from error


def maker(node: Mapping[str, Any], key: str, given: Collection[str] = ()) -> partial[Any]:
    """What a node of a config names under `_target_`, with the other values of the node as its arguments.

    Nodes in the values that name a `_target_` themselves are made when it is called.

    Args:
        node: of the config.
        key: where it stands.
        given: arguments that the caller will add.

    Raises:
        UsageError: it cannot be imported or called, or not with these arguments.
    """
    path = node.get("_target_")
    if not isinstance(path, str):
        raise UsageError(f"{key}._target_ is {path!r}, expected the name of a class or function, as in module.Class")
    target = located(path, key)
    if not callable(target):
        raise UsageError(f"{key}._target_: {path} is a {type(target).__name__}, expected a class or function")
    checked({name: value for name, value in node.items() if not name.startswith("_")}, target, key, given)
    return partial(_made, dict(node), key)


def _made(node: dict[str, Any], key: str, **given: Any) -> Any:
    try:
        return instantiate(node, **given, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, TypeError):  # of what it takes as **options and hands on
            raise UsageError(f"{key}: {node['_target_']} cannot be made: {error.__cause__}") from error
        raise error.__cause__ or error from None


def make(node: Mapping[str, Any], key: str, **given: Any) -> Any:
    """Make it at once; `given` are further arguments."""
    return maker(node, key, given)(**given)


def _name(taker: Callable[..., Any]) -> str:
    return getattr(taker, "__qualname__", str(taker))
