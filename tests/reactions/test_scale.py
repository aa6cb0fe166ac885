"""Nothing but FERGI's own protocols may depend on how large a source's numbers are."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fergi_reward.annotation.outcome import Expected
from fergi_reward.annotation.paper_rule import run_paper_rule
from fergi_reward.annotation.people import calm
from fergi_reward.annotation.run import run as annotate
from fergi_reward.calibration import grid, paper_v3
from fergi_reward.calibration.judged_weights import fit_judged_weights
from fergi_reward.calibration.protocols import calibrate
from fergi_reward.data.fergi import read_fergi
from fergi_reward.data.judgements import from_ratings
from fergi_reward.data.shown_pictures import Picture
from fergi_reward.data.table import PreferenceTable
from fergi_reward.faces.recorded import Recorded
from fergi_reward.faces.viewings import dataset_of
from fergi_reward.reactions.clip import valence
from fergi_reward.reactions.scale import nearest_step, unit_of
from fergi_reward.reactions.source_map_fit import fit_unpaired
from fergi_reward.reactions.table import ReactionTable

SMALL = 0.01
SCORERS = ["image_reward", "pickscore", "hps_v2"]


def camera(size, people=6):
    """Viewers who rank by scores and brow, of whom one is restless, in numbers of some size."""
    rng, rows, before = np.random.default_rng(0), [], []
    for user in range(people):
        for session in range(6):
            scores, brows = rng.normal(size=(4, 3)), 0.6 * rng.exponential(size=4)
            liking = scores.sum(axis=1) - 3 * (1 - np.exp(-brows)) + rng.normal(size=4)
            ranks = liking.argsort().argsort() + 1
            rows += [(f"p{user}", session, i, int(ranks[i]), *scores[i], brows[i] * size) for i in range(4)]
            before += [(f"p{user}", session, i, (0.1 + 0.9 * (user == 0)) * size * rng.random()) for i in range(4)]
    images = pd.DataFrame(rows, columns=["user", "session", "image", "rank", *SCORERS, "au4"])
    baseline = pd.DataFrame(before, columns=["user", "session", "image", "au4"])
    return PreferenceTable(images, baseline, au_source="camera")


@pytest.fixture(scope="module")
def both():
    return camera(1.0), camera(SMALL)


@pytest.fixture(scope="module", params=["bradley-terry", "paper-v1"])
def fitted(request, both):
    chosen = {"scorers": ["pickscore"]} if request.param == "bradley-terry" else {}
    return [calibrate(table, request.param, **chosen) for table in both]


def test_the_unit_is_that_of_fergi_on_fergis_scale_and_follows_other_numbers(both, fergi):
    assert [table.au_unit for table in both] == [1.0, SMALL]
    measured = read_fergi(fergi).images["au4"].to_numpy()
    assert [unit_of(measured * size, "camera") for size in (1, 0.01, 100)] == [1.0, 0.01, 100.0]
    assert unit_of(measured * 0.01, "fergi-ir50") == 1.0
    assert unit_of(np.array([np.nan]), "camera") == unit_of(np.zeros(3), "camera") == 1.0


@given(st.floats(1e-5, 1e5), st.integers(-4, 4))
def test_the_nearest_step_is_within_the_widest_gap_and_moves_with_powers_of_ten(value, power):
    step = nearest_step(value)
    assert f"{step:.0e}"[0] in "125"
    assert 1 / np.sqrt(2.5) - 1e-9 <= step / value <= np.sqrt(2.5) + 1e-9
    assert nearest_step(value * 10.0**power) == pytest.approx(step * 10.0**power, rel=1.6)  # at an edge either step


def test_parts_of_a_table_keep_its_unit_and_a_map_gives_that_of_its_target(both):
    _, small = both
    part = small.where(small.images["au4"] > small.images["au4"].quantile(0.9))
    assert part.au_unit == small.au_unit == SMALL
    fitted = fit_unpaired(small, replace(both[0], au_source="fergi-ir50"), "reaction")
    assert small.mapped(fitted.source_map).au_unit == 1.0


def test_a_calibration_weighs_the_same_faces_alike(both, fitted):
    large, small = fitted
    for one, other in zip(large.calibration.fits, small.calibration.fits, strict=True):
        assert one.term_names == other.term_names
        for name in ("mean", "std", "weight"):
            ours, theirs = ([getattr(term, name) for term in fit.terms] for fit in (one, other))
            assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-12)
        assert [decay / SMALL for decay in one.decays] == pytest.approx(list(other.decays), rel=1e-12)
    for one, other in zip(large.held_out, small.held_out, strict=True):
        np.testing.assert_allclose(one.margins, other.margins, rtol=1e-6, atol=1e-9)
        assert one.users.tolist() == other.users.tolist()
    assert [effect.log_odds for effect in large.effects.values()] == pytest.approx(
        [effect.log_odds for effect in small.effects.values()], rel=1e-6
    )
    excluded = large.left_out["participants"]
    assert excluded.keys() == small.left_out["participants"].keys()
    assert small.calibration.dataset["au_unit"] == SMALL
    assert "au_unit" not in large.calibration.dataset


def test_a_reward_adds_the_same_for_the_same_faces(both, fitted):
    added = []
    for table, found in zip(both, fitted, strict=True):
        fit = next(fit for fit in found.calibration.fits if fit.term_names == ("pickscore", "au4"))
        face = Recorded.of(table, by="viewing")
        ids = sorted(face.activations)
        added.append(face.terms(fit, {}, ids, len(ids), torch.device("cpu")).contributions["au4"])
    assert added[0].std() > 0
    torch.testing.assert_close(*added, rtol=1e-5, atol=1e-6)


def test_faunet_says_the_same(both):
    margins = [
        {one.model: one.margins for one in paper_v3.run(table.where(table.images["user"] < "p2"), 0).held_out}
        for table in both
    ]
    np.testing.assert_allclose(margins[0]["FAU-Net"], margins[1]["FAU-Net"], rtol=1e-3, atol=1e-5)
    assert np.ptp(margins[0]["FAU-Net"]) > 0.01


def test_restless_people_are_known_on_every_scale(both):
    reasons = [grid.unsteady_participants(table) for table in both]
    assert list(reasons[0]) == list(reasons[1]) == ["p0"]
    assert reasons[1]["p0"].endswith("not below 0.005")
    _, small = both
    assert calm(small, small)[2].keys() == {"p0"}
    # The unit is that of the people who ranked, also where the viewers' own faces would give another.
    idle = replace(small, images=small.images.assign(au4=small.images["au4"] / 100), au_unit=0.0)
    assert idle.au_unit < SMALL
    assert calm(small, idle)[2].keys() == {"p0"}


@pytest.mark.parametrize("rule", ["fitted", "paper"])
def test_the_same_pairs_are_annotated(both, rule):
    found = []
    for table in both:
        if rule == "paper":
            calibration = calibrate(table, "bradley-terry", scorers=["pickscore"]).calibration
            outcome = run_paper_rule(table, table, calibration)
        else:
            outcome = annotate(table, table, Expected(0.6), signals="face")
        assert list(outcome.excluded) == ["p0"]
        found.append(outcome.annotation.pairs)
    assert len(found[0]) > 10
    pd.testing.assert_frame_equal(*found, rtol=1e-6)


def test_judgements_with_faces_are_weighed_alike(both):
    weights = []
    for table in both:
        rated = table.images.assign(prompt=table.images["user"] + table.images["session"].astype(str))
        judgements = from_ratings(
            rated, prompt="prompt", image="image", rating="rank", rater="user", reactions=["au4"], au_source="camera"
        )
        calibration = fit_judged_weights(judgements, ["pickscore"]).calibration
        weights.append([(term.name, term.weight, term.decay) for term in calibration.fits[-1].terms])
    (_, score, _), (_, face, decay) = weights[0]
    assert weights[1] == [("pickscore", pytest.approx(score), None), ("au4", pytest.approx(face), decay / SMALL)]


def test_maps_between_small_scales_have_all_their_knots(both):
    large, small = both
    onto = replace(large, au_source="target")
    tiny = replace(small, au_source="target")
    one, other = (
        np.array(fit_unpaired(*sides, "reaction").source_map.knots) for sides in ((large, onto), (small, tiny))
    )
    np.testing.assert_allclose(one * SMALL, other, rtol=1e-6)


def test_a_fingerprint_sees_small_differences_on_a_small_scale(both):
    _, small = both
    changed = small.images["au4"].where(small.images.index > 0, small.images["au4"] + SMALL * 1e-4)
    other = replace(small, images=small.images.assign(au4=changed))
    assert other.fingerprint() != small.fingerprint()
    same = replace(small, images=small.images.assign(au4=small.images["au4"] + SMALL * 1e-9))
    assert same.fingerprint() == small.fingerprint()
    assert both[0].fingerprint() != small.fingerprint()


def test_so_does_that_of_a_predictors_data(both, tmp_path):
    (tmp_path / "picture.png").write_bytes(b"any")
    rows = both[1].images[["user", "session", "image", "au4"]][:2]
    picture = Picture(tmp_path / "picture.png", "a cat")
    pictures = {tuple(map(str, key)): picture for key in rows[["user", "session", "image"]].values.tolist()}
    digests = [
        dataset_of(ReactionTable(rows.assign(au4=rows["au4"] + SMALL * more), au_source="camera"), pictures)
        for more in (0, 1e-9, 1e-4)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_decay_coefficients_mean_the_same_valence(both):
    large, small = (table.images["au4"].to_numpy() for table in both)
    np.testing.assert_allclose(valence(large, 0.4), valence(small, 0.4 / SMALL))
