"""Texts that a person would take for the same: those that differ in white space or capitals alone."""

from collections.abc import Iterable


def folded(text: str) -> str:
    """A text without what does not tell it from others.

    >>> folded(" A  cat"), folded(" ")
    ('a cat', '')
    """
    return " ".join(text.split()).casefold()


def alike(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Each text that reads like an earlier one, after that one.

    >>> alike(["a cat", "a dog", "A  cat"])
    [('a cat', 'A  cat')]
    """
    first: dict[str, str] = {}
    pairs = [(first.setdefault(folded(text), text), text) for text in texts]
    return [(one, other) for one, other in pairs if one != other]
