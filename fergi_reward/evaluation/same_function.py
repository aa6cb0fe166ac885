"""Whether a function that judges is one that was trained on, under another name."""

import sys
from collections.abc import Iterable, Sequence
from functools import partial
from types import FunctionType

from fergi_reward.callables.code_digests import code_digest
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.registry import NO_MODULE, is_path
from fergi_reward.scorers.registry import REGISTRY, term_name


def terms_of(name: str, trained_on: Iterable[str]) -> tuple[str, ...]:
    """The term of a scorer, then those of the terms that were trained on whose function it is, or may be.

    Args:
        name: The scorer.
        trained_on: Terms; one that cannot be imported here is taken for a function of the same name in another module.
    """
    term = term_name(name)
    asked, library = _target(term), REGISTRY.builtin  # where one class has several versions
    others = (other for other in trained_on if other != term and not {term, other} <= library.keys())
    return term, *(
        other
        for other in others
        if _is_same(asked, found := _target(other)) or (found is None and _may_be(term, other))
    )


def check_trained_on(names: Iterable[str], asked: Sequence[str]) -> None:
    """Refuse functions that are said to be trained on, and of which nobody can tell whether a judge is one of them.

    Args:
        names: What was trained on.
        asked: The scorers that judge.

    Raises:
        FergiRewardError: Its module has no such function, or cannot be imported and a judge may be that function.
    """
    for name in names:
        if not is_path(name) or name in asked or _target(name) is not None:
            continue
        if name.partition(":")[0] in sys.modules:
            REGISTRY.get(name)  # says what it lacks
        near = (judge for judge in asked if is_path(judge) and (_may_be(judge, name) or _one_module(judge, name)))
        if judge := next(near, None):
            raise FergiRewardError(
                f"--trained-on {name} cannot be imported, and --scorers {judge} may be the same: {NO_MODULE}, or give "
                f"--trained-on {judge} if it is"
            )


def _may_be(name: str, other: str) -> bool:
    """Whether two paths end in one name."""
    return is_path(name) and is_path(other) and name.rpartition(":")[2] == other.rpartition(":")[2]


def _one_module(name: str, other: str) -> bool:
    """Whether two paths are of modules of one name, whatever packages these are in."""
    modules = (each.partition(":")[0].rpartition(".")[2] for each in (name, other))
    return len(set(modules)) == 1


def unknown_functions(names: Sequence[str], trained_on: Iterable[str]) -> list[str]:
    """The terms that were trained on and cannot be imported, where a function judges that may be one of them."""
    if all(name in REGISTRY.builtin for name in names):
        return []
    asked = set(map(term_name, names))
    return [term for term in trained_on if term not in asked and _target(term) is None]


def _target(name: str) -> object | None:
    """What a name stands for; None where nothing of that name is here."""
    try:
        return REGISTRY.get(name).target
    except FergiRewardError:
        return None


def _is_same(one: object, other: object) -> bool:
    """Whether two are one object, or plain functions with the same code, defaults, arguments and values."""
    if one is None or other is None:
        return False
    return one is other or (_is_plain(one) and _is_plain(other) and code_digest(one) == code_digest(other))


def _is_plain(asked: object) -> bool:
    return isinstance(asked.func if isinstance(asked, partial) else asked, FunctionType)
