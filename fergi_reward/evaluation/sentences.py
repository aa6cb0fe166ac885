"""Parts of sentences that results and reports have in common: intervals, and when there are too few units."""

from collections.abc import Sequence

from fergi_reward.core.counts import counted
from fergi_reward.stats.intervals import FEW_UNITS, LEAST_UNITS, Interval


def shown(bounds: Interval | None, form: str) -> str:
    """An interval in a sentence; nothing where there is none.

    >>> shown((0.25, 0.5), ", {:.1%} to {:.1%}"), shown(None, ", {:.1%} to {:.1%}")
    (', 25.0% to 50.0%', '')
    """
    return form.format(*bounds) if bounds else ""


def split_prompts(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """What a reader must know where prompts differ only in white space; nothing where none do.

    >>> split_prompts([("a cat", "a  cat")])
    ["1 prompt differs from another in white space only ('a cat', 'a  cat'): pictures of the two are not compared."]
    """
    verb = "differs" if len(pairs) == 1 else "differ"
    return [
        f"{counted(len(pairs), 'prompt')} {verb} from another in white space only ({one!r:.60}, {other!r:.60}): "
        "pictures of the two are not compared."
        for one, other in pairs[:1]
    ]


def too_few(units: int, unit: str) -> list[str]:
    """What a reader must know where there are few units; nothing where there are enough.

    >>> too_few(1, "prompt")
    ['Of 1 prompt there are no intervals: at least 5 are needed.']
    >>> too_few(7, "prompt")
    ['Intervals of 7 prompts are too narrow to mean much: no verdict rests on fewer than 20.']
    """
    if units < LEAST_UNITS:
        return [f"Of {counted(units, unit)} there are no intervals: at least {LEAST_UNITS} are needed."]
    few = (
        f"Intervals of {counted(units, unit)} are too narrow to mean much: no verdict rests on fewer than {FEW_UNITS}."
    )
    return [few] * (units < FEW_UNITS)
