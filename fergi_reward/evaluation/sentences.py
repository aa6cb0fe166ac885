"""Parts of sentences that results and reports have in common: intervals, and when there are too few units."""

from fergi_reward.core.counts import counted
from fergi_reward.stats.intervals import FEW_UNITS, LEAST_UNITS, Interval


def shown(bounds: Interval | None, form: str) -> str:
    """An interval in a sentence; nothing where there is none.

    >>> shown((0.25, 0.5), ", {:.1%} to {:.1%}"), shown(None, ", {:.1%} to {:.1%}")
    (', 25.0% to 50.0%', '')
    """
    return form.format(*bounds) if bounds else ""


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
