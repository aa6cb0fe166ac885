from math import sqrt

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from fergi_reward.annotation.rules import guaranteed_rule, paper_rule
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.table import PreferenceTable

PAIRS = 20


def looked_at(right_of: dict[str, int], activation: float = 3.0) -> PreferenceTable:
    """Participants with twenty sessions of two pictures each, who frown at one: at the worse one so many times."""
    rows = []
    for user, right in right_of.items():
        for session in range(PAIRS):
            frowns_at_worse = session < right
            rows += [
                (user, session, 1, 1, activation if frowns_at_worse else 0.0),
                (user, session, 2, 2, 0.0 if frowns_at_worse else activation),
            ]
    return PreferenceTable(pd.DataFrame(rows, columns=["user", "session", "image", "rank", "au4"]), au_source="test")


@pytest.mark.parametrize("participants", [1, 5, 1000])
def test_the_promise_is_students_bound_for_the_mean_of_further_people(participants: int) -> None:
    right = [14, 16, 15, 19]
    table = looked_at(dict(zip("abcd", right, strict=True)))
    mean, std = np.mean(right), np.std(right, ddof=1)
    reachable = (mean - t.ppf(0.8, 3) * std * sqrt(1 / 4 + 1 / participants)) / PAIRS
    assert guaranteed_rule(table, reachable - 1e-6, 0.8, participants).threshold == 0
    with pytest.raises(FergiRewardError, match=f"{participants} people .* 80%, .* 4 participants .*is possible"):
        guaranteed_rule(table, reachable + 1e-6, 0.8, participants)


def test_the_threshold_stops_where_small_frowns_mislead() -> None:
    strong = looked_at(dict.fromkeys("abcde", PAIRS)).images
    weak = looked_at(dict.fromkeys("abcde", 2), activation=0.3).images.assign(
        session=lambda rows: rows["session"] + PAIRS
    )
    rule = guaranteed_rule(PreferenceTable(pd.concat([strong, weak], ignore_index=True)), 0.8, 0.9, participants=5)
    assert 1 - np.exp(-rule.decay * 0.3) <= rule.threshold < 1 - np.exp(-rule.decay * 3.0)


def test_faces_that_say_nothing_are_refused() -> None:
    rng = np.random.default_rng(0)
    kept = 0
    for _ in range(100):
        table = looked_at({str(user): int(right) for user, right in enumerate(rng.binomial(PAIRS, 0.5, size=10))})
        try:
            guaranteed_rule(table, 0.51, 0.9, participants=10)
            kept += 1
        except FergiRewardError as error:
            assert "is possible" in str(error)
    assert kept <= 15  # 10 are expected where the target is just reached, fewer here


def test_the_papers_rule_weighs_a_wrong_pair_twice() -> None:
    assert paper_rule(looked_at({"a": 14})).threshold < 1 - np.exp(-2.1 * 3.0)
    # 13 right less twice 7 wrong is worse than no annotation at all.
    with_losses = paper_rule(looked_at({"a": 13}))
    assert with_losses.threshold >= 1 - np.exp(-with_losses.decay * 3.0)


def test_two_participants_are_too_few() -> None:
    with pytest.raises(FergiRewardError, match="at least 3 who ranked pictures, got 2"):
        guaranteed_rule(looked_at({"a": 20, "b": 20}), 0.6, 0.9, 1)
