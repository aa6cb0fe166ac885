import numpy as np
import pandas as pd
import pytest

from fergi_reward.calibration import bradley_terry, grid
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.fergi import ACTION_UNITS, read_fergi
from fergi_reward.data.table import PreferenceTable
from fergi_reward.reactions.clip import valence
from fergi_reward.stats.held_out import evaluate_held_out

TERMS = (*bradley_terry.SCORERS, "au4")


def known_table(weights, *, participants=30, sessions=40, decay=0.8, seed=0):
    """Preferences drawn pair by pair from a Bradley-Terry model: two images per session, standard normal scores."""
    rng = np.random.default_rng(seed)
    count = participants * sessions * 2
    scores = dict(zip(bradley_terry.SCORERS, rng.normal(size=(3, count)), strict=True))
    au4 = rng.exponential(0.7, count)
    terms = np.stack([*scores.values(), valence(au4, decay)])
    terms[3] /= terms[3].std(ddof=1)
    total = (weights @ terms).reshape(-1, 2)
    first_wins = rng.random(len(total)) < 1 / (1 + np.exp(total[:, 1] - total[:, 0]))
    images = pd.DataFrame(scores | {"au4": au4})
    images["user"] = np.repeat([f"{user:03d}" for user in range(participants)], sessions * 2)
    images["session"] = np.tile(np.repeat(np.arange(sessions), 2), participants)
    images["image"] = np.tile([1, 2], participants * sessions)
    images["rank"] = np.stack([1 + first_wins, 2 - first_wins], axis=1).ravel()
    return PreferenceTable(images, au_source="test")


def model(table, terms=TERMS):
    used = table.with_reactions()
    return bradley_terry.Model("model", terms, used, used.pairs())


def left_out(of):
    return bradley_terry.held_out_margins(of, bradley_terry.choose(of, seed=0))


def test_known_weights_come_back():
    truth = np.array([0.6, 1.0, 0.0, 0.4])
    table = known_table(truth, participants=40, sessions=100)
    drawn = model(table)
    fitted = bradley_terry.fit(drawn, np.ones(4000, dtype=bool), bradley_terry.choose(drawn, seed=0)[-1])
    # The standard error of a weight is about 1 / sqrt(4000 * 0.2 * 2) = 0.025.
    np.testing.assert_allclose([term.weight for term in fitted.terms], truth, atol=0.1)


def test_each_action_unit_adds_what_it_was_made_to_add():
    """AU4 speaks against an image, AU12 says nothing, and a rise by 1 adds what the model that drew the ranks adds."""
    table = known_table(np.array([0.6, 1.0, 0.0, 0.7]), participants=40, sessions=60)
    spread = valence(table.images["au4"], 0.8).std()
    images = table.images.assign(au12=np.random.default_rng(9).exponential(0.7, len(table.images)))
    both = model(PreferenceTable(images, au_source="test"), (*TERMS, "au12"))
    effects = bradley_terry.effects(both, bradley_terry.choose(both, seed=0)[-1], seed=0)
    assert effects["au4"].log_odds == pytest.approx(0.7 * (np.exp(-0.8) - 1) / spread, abs=0.2)
    assert effects["au4"].ci95[1] < 0
    assert effects["au12"].ci95[0] < 0 < effects["au12"].ci95[1]


@pytest.mark.parametrize("terms", [TERMS, (*TERMS, "au12")])
def test_left_out_preferences_leave_their_own_predictions_alone(terms):
    """Turning one participant's ranks around must turn the margins of that participant around, and do no more."""
    table = known_table(np.array([0.5, 0.5, 0.5, 0.5]), participants=6, sessions=20)
    au12 = np.random.default_rng(9).exponential(0.7, len(table.images))
    table = PreferenceTable(table.images.assign(au12=au12), au_source="test")
    images = table.images.copy()
    theirs = images["user"] == "002"
    images.loc[theirs, "rank"] = 3 - images.loc[theirs, "rank"]
    before = left_out(model(table, terms))
    after = left_out(model(PreferenceTable(images, au_source="test"), terms))
    theirs = before.users == "002"
    np.testing.assert_allclose(after.margins[theirs], -before.margins[theirs], rtol=1e-12)
    assert not np.allclose(after.margins[~theirs], before.margins[~theirs])


@pytest.mark.parametrize("protocol", [bradley_terry, grid])
def test_shuffled_ranks_leave_every_model_at_chance(protocol):
    """Within 3 standard errors of 50 %; sessions have one pair each here, so that pairs are independent."""
    table = known_table(np.array([0.6, 1.0, 0.0, 0.4]), participants=5, sessions=120)
    images = table.images.copy()
    flip = np.repeat(np.random.default_rng(1).random(len(images) // 2) < 0.5, 2)
    images["rank"] = np.where(flip, 3 - images["rank"], images["rank"])
    baseline = images[["user", "session", "image"]].assign(au4=0.1)
    outcome = protocol.run(PreferenceTable(images, baseline, au_source="test"), 0)
    for held_out in outcome.held_out:
        if "selected" not in held_out.model:  # those choose their own pairs, a handful
            result = evaluate_held_out(held_out, seed=0)
            assert abs(result.accuracy - 0.5) < 3 * 0.5 / np.sqrt(result.pairs), held_out.model


@pytest.mark.parametrize(
    ("terms", "accuracy", "loss"),
    [((), 0.650, 0.625), (("au4",), 0.665, 0.6095), (("au4", "au12"), 0.679, 0.6005), (ACTION_UNITS, 0.682, 0.600)],
    ids=["no face", "au4", "two action units", "the whole face"],
)
def test_what_fergi_gives(fergi, terms, accuracy, loss):
    chosen = model(read_fergi(fergi), (*bradley_terry.SCORERS, *terms))
    by = bradley_terry.choose(chosen, seed=0)
    result = evaluate_held_out(bradley_terry.held_out_margins(chosen, by), seed=0)
    assert result.pairs == 3734
    assert result.accuracy >= accuracy
    assert result.log_loss <= loss
    shipped = Calibration.shipped().fit_for(chosen.terms)
    assert (shipped.accuracy, shipped.ci95) == (result.accuracy, result.ci95)
    assert shipped.log_loss == pytest.approx(result.log_loss, rel=1e-12)
    fitted = bradley_terry.fit(chosen, np.ones(result.pairs, dtype=bool), by[-1])
    for term, again in zip(shipped.terms, fitted.terms, strict=True):  # except for the last bits of the machine
        assert (term.name, term.decay) == (again.name, again.decay)
        assert (term.mean, term.std, term.weight) == pytest.approx((again.mean, again.std, again.weight), rel=1e-12)


def test_every_set_of_scorers_has_weights_with_and_without_the_reaction():
    names = bradley_terry.term_sets()
    assert len(set(map(frozenset, names.values()))) == 15
    assert names["weighted_sum+au4"] == TERMS
    several = bradley_terry.term_sets(aus=ACTION_UNITS)
    assert list(several)[: len(names)] == list(names)
    assert [set(several[f"pickscore+{face}"][1:]) for face in ("au4", "au4+au12", "12_aus")] == [
        {"au4"},
        {"au4", "au12"},
        {*ACTION_UNITS},
    ]
    assert list(several)[-1] == "weighted_sum+12_aus" and len(several) == 31
    without_au4 = bradley_terry.term_sets(["a", "b"], ["au1", "au12"])
    assert [name for name in without_au4 if "au" in name] == [
        "au1+au12",
        "a+au1+au12",
        "b+au1+au12",
        "weighted_sum+au1+au12",
    ]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda images: images.assign(hps_v2=0.3), "hps_v2 has the same value for every image"),
        (lambda images: images[images["user"] < "002"], "at least 3 participants with pairs, got 2"),
        (lambda images: images.drop(columns="pickscore"), "no column pickscore"),
    ],
)
def test_tables_that_cannot_be_fitted(damage, message):
    images = damage(known_table(np.ones(4), participants=4, sessions=5).images).reset_index(drop=True)
    with pytest.raises(FergiRewardError, match=message):
        bradley_terry.run(PreferenceTable(images, au_source="test"), 0)


def test_the_spreads_of_many_sets_of_people_are_those_of_each():
    table = known_table(np.array([0.5, 0.5, 0.5, 0.5]), participants=6, sessions=20)
    drawn = model(PreferenceTable(table.images.assign(pickscore=table.images["pickscore"] + 50), au_source="test"))
    sets = np.array([[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 1], [1, 0, 1, 1, 0, 0]], dtype=bool)
    rows = [drawn.rows_of(drawn.users[of]) for of in sets]
    np.testing.assert_allclose(drawn.scales((0.4,), sets), [drawn.scale((0.4,), of)[1] for of in rows], rtol=1e-9)
