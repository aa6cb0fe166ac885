from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fergi_reward.annotation.paper_rule import paper_rule, rules_for, run_paper_rule
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.fergi import read_fergi
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


def test_a_wrong_pair_weighs_twice() -> None:
    assert paper_rule(looked_at({"a": 14})).threshold < 1 - np.exp(-2.1 * 3.0)
    # 13 right less twice 7 wrong is worse than no annotation at all.
    with_losses = paper_rule(looked_at({"a": 13}))
    assert with_losses.threshold >= 1 - np.exp(-with_losses.decay * 3.0)


def test_pairs_whose_valences_differ_enough_are_annotated() -> None:
    # At 3.0 and 0.0 all differ; two people learn the rule from each other, and the pictures of a third are not rated.
    table = looked_at({"a": 19, "b": 20})
    calibration = replace(Calibration.shipped(), au_source="test")
    outcome = run_paper_rule(table, table, calibration)
    assert (outcome.annotation.candidates, len(outcome.annotation.pairs)) == (2 * PAIRS, 2 * PAIRS)
    assert outcome.result is not None
    assert (outcome.result.correct, outcome.result.pairs) == (39, 40)
    (term,) = calibration.fit_for(["au4"]).terms
    log_odds = term.weight * (1 - np.exp(-(term.decay or 0) * 3.0)) / term.std
    assert outcome.annotation.pairs["confidence"].tolist() == pytest.approx([1 / (1 + np.exp(-log_odds))] * 40)
    assert set(outcome.annotation.pairs["signals"]) == {"au4"}


def test_on_fergi_the_published_pairs_come_out(fergi: Path) -> None:
    table = read_fergi(fergi)
    outcome = run_paper_rule(table, table, Calibration.shipped())
    assert outcome.result is not None
    assert (outcome.result.correct, outcome.result.pairs, outcome.annotation.candidates) == (414, 553, 3534)
    assert set(outcome.excluded) == {"002", "004", "039"}


def test_sources_must_fit(simulated: Path) -> None:
    table = read_fergi(simulated)
    with pytest.raises(
        FergiRewardError, match=r"fitted on AU source 'fergi-ir50', .* people to annotate from 'simulated'.*map-source"
    ):
        run_paper_rule(table, table, Calibration.shipped())


def test_nobody_is_annotated_by_a_rule_that_saw_their_ranks(simulated: Path) -> None:
    table = read_fergi(simulated).with_reactions()
    user = table.users[0]
    turned = table.images["rank"].where(table.images["user"] != user, 6 - table.images["rank"])
    other = replace(table, images=table.images.assign(rank=turned))
    before, after = (rules_for(one, one.users) for one in (table, other))
    assert before[user] == after[user]
    assert before != after
