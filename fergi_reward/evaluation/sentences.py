"""Parts of sentences that results and reports have in common: intervals, and when there are too few units."""

from collections import Counter
from collections.abc import Sequence

from fergi_reward.core.alike import alike
from fergi_reward.core.counts import counted
from fergi_reward.data.judgements import Judgements
from fergi_reward.stats.intervals import FEW_UNITS, LEAST_UNITS, Interval


def shown(bounds: Interval | None, form: str) -> str:
    """An interval in a sentence; nothing where there is none.

    >>> shown((0.25, 0.5), ", {:.1%} to {:.1%}"), shown(None, ", {:.1%} to {:.1%}")
    (', 25.0% to 50.0%', '')
    """
    return form.format(*bounds) if bounds else ""


def split_names(judgements: Judgements) -> list[str]:
    """What a reader must know where prompts or raters differ only in white space or capitals; nothing where none do."""
    return [
        *_split("prompt", judgements.split_prompts, "pictures of the two are not compared"),
        *_split("rater", judgements.split_raters, "the two count as two people"),
    ]


def alike_prompts(prompts: Sequence[str]) -> list[str]:
    """What a reader must know where prompts that are drawn differ only in white space or capitals."""
    return _split("prompt", alike(prompts), "they count as different ones, and intervals are too narrow")


def repeated_prompts(lines: Sequence[str]) -> list[str]:
    """What a reader must know where lines repeat a prompt.

    >>> repeated_prompts(["a cat", "a dog", "a cat"]), repeated_prompts(["a cat", "A cat"])
    (["1 line repeats an earlier prompt and was left out ('a cat')."], [])
    """
    seen = Counter(lines)
    again = len(lines) - len(seen)
    first = next((prompt for prompt, count in seen.items() if count > 1), "")
    verb, left = ("repeats", "was") if again == 1 else ("repeat", "were")
    return [f"{counted(again, 'line')} {verb} an earlier prompt and {left} left out ({first!r:.60})."] * bool(again)


def _split(what: str, pairs: Sequence[tuple[str, str]], so: str) -> list[str]:
    """A sentence on names that differ only in white space or capitals.

    >>> _split("prompt", [("a cat", "A cat")], "they are not compared")
    ["1 prompt differs from another in white space or capitals only ('a cat', 'A cat'): they are not compared."]
    """
    verb = "differs" if len(pairs) == 1 else "differ"
    return [
        f"{counted(len(pairs), what)} {verb} from another in white space or capitals only "
        f"({one!r:.60}, {other!r:.60}): {so}."
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
