"""Whether judges are held out: what a reward weighs cannot see that it is gamed, whatever it is called."""

from collections.abc import Iterator, Mapping
from types import MethodType

from torch import nn

from fergi_reward.callables.rewards import Reward
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.foreign import ForeignScorer
from fergi_reward.scorers.scorer_set import ParkedScorer
from fergi_reward.scorers.signature import weights_signature

# What the reward is called among the judges' scores.
REWARD = "reward"


def check_held_out(judges: Mapping[str, object], reward: Reward | None) -> None:
    """Refuse a judge that is trained on: by its name, as the same object, or as the same weights.

    A scorer that a function of somebody else asks is not seen. Judges with weights are compared with all scorers of
    the reward, which are loaded for that.

    Args:
        judges: By name; where they are not loaded yet, their names are compared alone.
        reward: One that is made of several has their `names`; None where no reward is trained on.

    Raises:
        FergiRewardError: A judge is the reward or a part of it, or has the name of one of the reward's terms.
    """
    names = set(getattr(reward, "names", ()))
    trained_on = [name for name, judge in judges.items() if name in names or judge is reward]
    if trained_on:
        raise FergiRewardError(
            f"{', '.join(trained_on)} cannot judge what it rewards: name judges that the reward does not weigh "
            f"(it weighs {', '.join(sorted(names)) or 'one callable'})"
        )
    if REWARD in judges:
        raise FergiRewardError(f"a judge is called {REWARD!r}, which the reward itself is: give it another name")
    if reward is not None and not all(isinstance(judge, str) for judge in judges.values()):
        _check_content(judges, reward)


def _check_content(judges: Mapping[str, object], reward: Reward) -> None:
    rewarded = list(_asked_in_the_end(reward))
    contents = [_content(one) for one in rewarded]
    for name, judge in judges.items():
        for asked in _asked_in_the_end(judge):
            content = _content(asked)
            for one, other in zip(rewarded, contents, strict=True):
                if _is_same(one, asked) or (content and content == other):
                    raise FergiRewardError(
                        f"{name} cannot judge what it rewards: it is {_called(one)}, which the reward weighs, under "
                        "another name; give a judge that the reward does not weigh"
                    )


def _asked_in_the_end(asked: object) -> Iterator[object]:
    """Without what this package puts around it."""
    if isinstance(asked, CombinedReward):
        for scorer in asked.scorers:
            yield from _asked_in_the_end(scorer)
    elif isinstance(asked, ParkedScorer):
        yield from _asked_in_the_end(asked.scorer)
    elif isinstance(asked, ForeignScorer):
        yield from _asked_in_the_end(asked.asked)
    else:
        yield asked


def _is_same(one: object, other: object) -> bool:
    """A method is another object each time that it is named."""
    return one is other or (isinstance(one, MethodType) and one == other)


def _content(asked: object) -> tuple[type, str] | None:
    """What tells weights from others; None where there are none and nothing says."""
    if isinstance(asked, nn.Module):
        found = weights_signature(asked)
    else:
        told = getattr(asked, "weights_digest", None)
        found = str(told()) if callable(told) else None
    return (type(asked), found) if found else None


def _called(asked: object) -> str:
    return str(getattr(asked, "name", None) or getattr(asked, "__name__", None) or type(asked).__name__)
