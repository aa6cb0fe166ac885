from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.fergi import read_fergi
from fergi_reward.reactions.source_map_fit import fit_paired, fit_unpaired, isotonic_knots, quantile_knots
from fergi_reward.reactions.table import ReactionTable


def saturating(au4):
    """A scale that rises with another one up to 0.6."""
    return 0.6 * (1 - np.exp(-au4 / 1.5))


def distorted(table, by=saturating, noise=0.0, seed=0):
    """The reactions as another source would measure them."""
    rng = np.random.default_rng(seed)
    images, baseline = (
        rows.assign(au4=by(rows["au4"] * np.exp(noise * rng.standard_normal(len(rows)))))
        for rows in (table.images, table.baseline)
    )
    return replace(table, images=images, baseline=baseline, au_source="camera")


def people(seed):
    """Twelve people who frown at forty images each."""
    rows = pd.DataFrame(
        [(str(user), 1, image) for user in range(12) for image in range(40)], columns=["user", "session", "image"]
    )
    reaction, baseline = np.random.default_rng(seed).exponential([[0.5], [0.2]], (2, len(rows)))
    return ReactionTable(rows.assign(au4=reaction), rows.assign(au4=baseline), "fergi-ir50")


def test_isotonic_knots_by_hand():
    # Four groups of five clips with the means 1, 3, 2 and 5: the second and third are pooled.
    origin = np.arange(20) / 10
    target = np.repeat([1.0, 3.0, 2.0, 5.0], 5) + np.tile([-0.2, -0.1, 0, 0.1, 0.2], 4)
    knots = isotonic_knots(origin[::-1], target[::-1])
    np.testing.assert_allclose(knots, [(0.2, 1), (0.95, 2.5), (1.7, 5)])


def test_clips_of_one_activation_are_one_knot():
    origin = np.r_[np.zeros(12), np.ones(8)]
    np.testing.assert_allclose(isotonic_knots(origin, np.arange(20.0)), [(0, 5.5), (1, 15.5)])
    # Levels 1/8, 3/8, 5/8 and 7/8 of 0 to 19 are 2.375, 7.125, 11.875 and 16.625; two of the origin's are 0, two are 1.
    origin, target = np.repeat([0.0, 1.0], 10), np.arange(20.0)
    np.testing.assert_allclose(quantile_knots(origin, target), [(0, 4.75), (1, 14.25)])
    np.testing.assert_allclose(quantile_knots(target, origin), [(4.75, 0), (14.25, 1)])


def test_activations_that_differ_in_their_last_bits_are_one_knot():
    """As in two copies without noise, where equal activations went through different roundings."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        levels = np.arange(1, 5) / 7
        origin = levels[rng.integers(0, 4, 100)] * (1 + rng.integers(-1, 2, 100) * 2.2e-16)
        knots = np.array(isotonic_knots(origin, origin / 3))
        assert (np.diff(knots, axis=0) > 1e-6).all()


def test_quantile_knots_by_hand():
    knots = quantile_knots(np.arange(21.0), 2 * np.arange(41.0))
    np.testing.assert_allclose(knots, [(2.5, 10), (7.5, 30), (12.5, 50), (17.5, 70)])


def test_the_same_clips_are_mapped_to_themselves(simulated):
    table = read_fergi(simulated)
    same = replace(table, au_source="camera")
    for fitted in (fit_paired(same, table), fit_unpaired(same, table, "reaction")):
        knots = np.array(fitted.source_map.knots)
        inside = np.linspace(knots[0, 0], 2 * knots[-1, 0])
        np.testing.assert_allclose(fitted.source_map(inside), inside)


def test_a_known_distortion_of_the_same_clips_is_undone():
    table, truth = people(0), np.linspace(0.05, 2)
    fitted = fit_paired(distorted(table), table).source_map
    np.testing.assert_allclose(fitted(saturating(truth)), truth, atol=0.01)
    noisy = fit_paired(distorted(table, noise=0.1), table).source_map
    np.testing.assert_allclose(noisy(saturating(truth)), truth, rtol=0.15, atol=0.05)


@pytest.mark.parametrize(("kind", "highest"), [("reaction", 1.5), ("baseline", 0.6)])
def test_a_known_distortion_is_undone_with_other_people(kind, highest):
    fitted = fit_unpaired(distorted(people(0)), people(1), kind)
    truth = np.linspace(0.05, highest)
    np.testing.assert_allclose(fitted.source_map(saturating(truth)), truth, atol=0.15)
    (distance,) = fitted.agreements
    assert distance.after < 0.1 < 0.3 < distance.before


def test_where_the_pairs_are_known_their_map_is_closer_than_that_of_quantiles():
    table = people(0)
    noisy = distorted(table, noise=1.2)
    paired, quantiles = (
        np.square(one.source_map(noisy.images["au4"].to_numpy()) - table.images["au4"]).mean()
        for one in (fit_paired(noisy, table), fit_unpaired(noisy, table, "reaction"))
    )
    assert paired < 0.8 * quantiles


def test_each_person_is_mapped_by_the_others():
    # The target is 2, 3 and 4 times the origin, which is 1 or 2: without a person the factor is 3.5, 3 and 2.5.
    rows = pd.DataFrame(
        [(user, 1, image) for user in "abc" for image in range(20)], columns=["user", "session", "image"]
    )
    origin = ReactionTable(rows.assign(au4=1.0 + rows["image"] % 2), au_source="camera")
    factor = rows["user"].map({"a": 2, "b": 3, "c": 4})
    target = ReactionTable(rows.assign(au4=factor * origin.images["au4"]), au_source="webcam")
    correlation, error = fit_paired(origin, target).agreements
    assert (error.before, error.after) == pytest.approx((1.5 * 2, 1.5 * 1))
    assert correlation.before > 0


def test_what_gives_no_map(simulated):
    table = read_fergi(simulated)
    camera = distorted(table)
    with pytest.raises(FergiRewardError, match="both sides come from AU source 'camera'"):
        fit_paired(camera, camera)
    with pytest.raises(FergiRewardError, match=r"at least 20 clips in both folders, of 3 people, got \d+ of 2"):
        fit_paired(camera.without_users(table.users[:2]), table)
    with pytest.raises(FergiRewardError, match=r"at least 20 baseline clips from camera, of 3 people, got 0 of 0"):
        fit_unpaired(replace(camera, baseline=table.baseline[:0]), table, "baseline")
    with pytest.raises(FergiRewardError, match="AU4 does not rise in one source where it rises in the other"):
        fit_paired(distorted(table, lambda au4: 1 / (1 + au4)), table)
    with pytest.raises(FergiRewardError, match="all AU4 activations of a source are the same"):
        fit_unpaired(distorted(table, lambda au4: 0 * au4), table, "reaction")
