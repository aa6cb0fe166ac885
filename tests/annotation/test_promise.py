from math import sqrt

import numpy as np
import pytest
from scipy.stats import t

from fergi_reward.annotation.promise import promised_threshold
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.stats.held_out import HeldOut

PAIRS = 20


def ranked(right_of: dict[str, int], size: float = 3.0) -> HeldOut:
    """Participants with twenty pairs each, whose log-odds have one size; so many of them are right."""
    margins = [np.where(np.arange(PAIRS) < right, size, -size) for right in right_of.values()]
    return HeldOut("test", np.concatenate(margins), np.repeat(list(right_of), PAIRS), is_log_odds=True)


def both(first: HeldOut, second: HeldOut) -> HeldOut:
    margins, users = (np.concatenate([getattr(one, name) for one in (first, second)]) for name in ("margins", "users"))
    return HeldOut("test", margins, users, is_log_odds=True)


@pytest.mark.parametrize("participants", [1, 5, 1000])
def test_the_promise_is_students_bound_for_the_mean_of_further_people(participants: int) -> None:
    right = [14, 16, 15, 19]
    held_out = ranked(dict(zip("abcd", right, strict=True)))
    mean, std = np.mean(right), np.std(right, ddof=1)
    reachable = (mean - t.ppf(0.8, 3) * std * sqrt(1 / 4 + 1 / participants)) / PAIRS
    assert promised_threshold(held_out, reachable - 1e-6, 0.8, participants) == 0
    with pytest.raises(FergiRewardError, match=f"{participants} people .* 80%, .* 4 participants .*is possible"):
        promised_threshold(held_out, reachable + 1e-6, 0.8, participants)


def test_the_threshold_stops_where_small_log_odds_mislead() -> None:
    strong, weak = ranked(dict.fromkeys("abcde", PAIRS)), ranked(dict.fromkeys("abcde", 2), size=0.3)
    assert promised_threshold(both(strong, weak), 0.8, 0.9, participants=5) == 0.3


def test_the_sizes_of_log_odds_decide_which_thresholds_are_tried_and_their_scale_does_not() -> None:
    rng = np.random.default_rng(0)
    users = np.repeat(list("abcdefgh"), 50)
    sizes = rng.exponential(size=len(users))
    held_out = HeldOut("test", sizes * np.where(rng.random(len(users)) < 0.6 + 0.1 * sizes, 1, -1), users, True)
    scaled = HeldOut("test", 7 * held_out.margins, users, True)
    threshold = promised_threshold(held_out, 0.65, 0.9, participants=8)
    assert promised_threshold(scaled, 0.65, 0.9, participants=8) == pytest.approx(7 * threshold)
    assert promised_threshold(held_out, 0.6, 0.9, participants=8) <= threshold


def test_signals_that_say_nothing_are_refused() -> None:
    rng = np.random.default_rng(0)
    kept = 0
    for _ in range(100):
        held_out = ranked({str(user): int(right) for user, right in enumerate(rng.binomial(PAIRS, 0.5, size=10))})
        try:
            promised_threshold(held_out, 0.51, 0.9, participants=10)
            kept += 1
        except FergiRewardError as error:
            assert "is possible" in str(error)
    assert kept <= 15  # 10 are expected where the target is just reached, fewer here


def test_two_participants_are_too_few() -> None:
    with pytest.raises(FergiRewardError, match="at least 3 who ranked pictures, got 2"):
        promised_threshold(ranked({"a": 20, "b": 20}), 0.6, 0.9, 1)
