"""Whether a tuned model is better than its base model, in words; only what it was not trained on may say so."""

from collections.abc import Sequence

from fergi_reward.core.counts import counted
from fergi_reward.evaluation.models_result import Diversity, SignalComparison
from fergi_reward.evaluation.sentences import shown
from fergi_reward.stats.intervals import FEW_UNITS, is_above, is_below

# A share of the base model's distance: what a change must at least take from it to be worth a warning.
LEAST_LOSS = 0.05


def is_more_alike(diversity: Diversity) -> bool:
    """Whether a model's pictures of one prompt are more alike by all of the interval, and by more than a trifle."""
    return diversity.prompts >= FEW_UNITS and is_below(diversity.ci95, -LEAST_LOSS * diversity.base)


def verdict(
    name: str,
    signals: Sequence[SignalComparison],
    prompts: int,
    trained_on: tuple[str, ...] | None,
    diversity: Diversity | None,
    *,
    is_base: bool = False,
) -> str:
    """The verdict, and a warning where pictures of one prompt became more alike.

    Args:
        name: Name of the tuned model.
        signals: All of them.
        prompts: How many different ones there are.
        trained_on: Terms of the reward; None where nothing says.
        diversity: Diversity of base and tuned.
        is_base: Whether every picture has just the scores of the base model's.
    """
    if is_base:
        return (
            f"No verdict on {name}: every picture has just the scores of the base model's, so its weights change "
            "nothing; they may be those of before training."
        )
    found = _verdict(name, signals, prompts, trained_on)
    if diversity and is_more_alike(diversity):
        found += (
            f" WARNING: its pictures of one prompt are more alike (mean distance {diversity.base:.3f} before, "
            f"{diversity.tuned:.3f} after{shown(diversity.ci95, '; difference {:+.3f} to {:+.3f}')})."
        )
    return found


def _verdict(name: str, signals: Sequence[SignalComparison], prompts: int, trained_on: tuple[str, ...] | None) -> str:
    held_out = [one for one in signals if one.held_out and not one.is_sum]
    if not held_out and trained_on is None:
        return (
            f"No verdict on {name}: nothing says what it was trained on, so no scorer is known to be held out "
            "(say so with --trained-on)."
        )
    if not held_out:
        return f"No verdict on {name}: its reward weighs every scorer that was asked; ask one that it does not weigh."
    if prompts < FEW_UNITS:
        return f"No verdict on {name}: from {counted(prompts, 'prompt')} nothing follows; give at least {FEW_UNITS}."
    better = [one for one in held_out if is_above(one.win_rate_ci95, 0.5)]
    worse = [one for one in held_out if is_below(one.win_rate_ci95, 0.5)]
    won = f"Of the pairs {name} won {', '.join(map(_rate, held_out))}"
    if better and worse:
        return f"{won}: what it was not trained on disagrees whether it is better or worse than the base model."
    if better or worse:
        says = "better" if better else "worse"
        return (
            f"{won}: it is {says} than the base model by {len(better or worse)} of {len(held_out)} signals that it was "
            f"not trained on.{_gamed(signals, bool(worse))}"
        )
    return f"{won}: nothing that it was not trained on tells it from the base model."


def _rate(one: SignalComparison) -> str:
    return f"{one.win_rate:.1%} by {one.signal}{shown(one.win_rate_ci95, ' ({:.1%} to {:.1%})')}"


def _gamed(signals: Sequence[SignalComparison], is_worse: bool) -> str:
    """Said where what was trained on rose while the rest fell."""
    risen = [one.signal for one in signals if one.held_out is False and is_above(one.win_rate_ci95, 0.5)]
    if not (is_worse and risen):
        return ""
    return f" What it was trained on likes it better ({', '.join(risen)}): a sign that it games its reward."
