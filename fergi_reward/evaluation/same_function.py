"""Whether a function that judges is one that was trained on, under another name."""

from collections.abc import Iterable, Sequence
from functools import partial
from types import FunctionType

from fergi_reward.callables.code_digests import code_digest
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.scorers.registry import REGISTRY, term_name


def terms_of(name: str, trained_on: Iterable[str]) -> tuple[str, ...]:
    """The term of a scorer, then those of the terms that were trained on whose function it is.

    Args:
        name: The scorer.
        trained_on: Terms; one that cannot be imported here is compared by its name alone.
    """
    term = term_name(name)
    asked, library = _target(term), REGISTRY.builtin  # where one class has several versions
    others = (other for other in trained_on if other != term and not {term, other} <= library.keys())
    return term, *(other for other in others if _is_same(asked, _target(other)))


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
