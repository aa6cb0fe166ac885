"""The loss by hand, and what a fit finds where something, and where nothing, can be found."""

import numpy as np
import pytest
import torch
from tqdm import tqdm

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.faces.fitting import fit_heads, reaction_loss, viewer_halves
from fergi_reward.faces.judging import cross_predict, figures, folds
from fergi_reward.faces.viewings import Viewings

WIDTH, VIEWERS, SESSIONS, IMAGES = 12, 10, 8, 5
QUIET = tqdm(disable=True)


def viewings(valence_of, *, seed=0, prompts=None, pictures=None):
    """Viewers who look at random embeddings; `valence_of(embeddings, viewer, rng)` says what each makes of them."""
    rng = np.random.default_rng(seed)
    viewer = np.repeat(np.arange(VIEWERS), SESSIONS * IMAGES)
    images = rng.standard_normal((len(viewer), WIDTH)) / np.sqrt(WIDTH) if pictures is None else pictures
    sessions = np.repeat(np.arange(VIEWERS * SESSIONS), IMAGES)
    return Viewings(
        torch.tensor(images, dtype=torch.float32),
        torch.tensor(rng.standard_normal((VIEWERS * SESSIONS, WIDTH))[sessions], dtype=torch.float32),
        torch.tensor(valence_of(images, viewer, rng), dtype=torch.float32),
        np.array([f"{number:03d}" for number in viewer]),
        sessions,
        np.array([f"prompt {number}" for number in sessions]) if prompts is None else prompts,
    )


def frowns(images, viewer, rng):
    """Faces that follow the first number of the embedding; viewers differ in expressiveness, and there is noise."""
    expressiveness = rng.lognormal(0, 0.5, VIEWERS)[viewer]
    return np.exp(-expressiveness * np.exp(4 * images[:, 0] - 2) * rng.exponential(1, len(viewer))) - 1


def noise(images, viewer, rng):
    return np.exp(-rng.exponential(0.3, len(viewer))) - 1


def test_the_loss_is_half_the_squared_differences_within_a_session_and_a_little_of_the_level():
    sessions, rows = torch.tensor([0, 0, 0, 1]), torch.ones(1, 4)
    # Differences 0.1, 0.2 and 0.3; one picture alone makes no pair.
    loss = reaction_loss(torch.tensor([[0.1, 0.2, 0.4, 0.5]]), sessions, rows)
    pairs, level = (0.01 + 0.04 + 0.09) / 3 / 2, (0.01 + 0.04 + 0.16 + 0.25) / 4
    assert loss.item() == pytest.approx(pairs + 0.1 * level)
    half = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    assert reaction_loss(torch.tensor([[0.1, 0.2, 0.4, 9.0]]), sessions, half).item() == pytest.approx(
        pairs + 0.1 * (0.01 + 0.04 + 0.16) / 3
    )


def test_halves_are_of_viewers_and_every_second_one_is_the_rest():
    users = np.repeat(np.array(["a", "b", "c", "d", "e"]), 3)
    halves = viewer_halves(users, 4, torch.Generator().manual_seed(0))
    assert (halves.reshape(4, 5, 3).std(dim=2) == 0).all()
    torch.testing.assert_close(halves[0::2] + halves[1::2], torch.ones(2, 15))
    assert set(halves.sum(dim=1).tolist()) == {6.0, 9.0}
    with pytest.raises(FergiRewardError, match="at least 4 viewers to be fitted on, got 2"):
        viewer_halves(np.array(["a", "b"]), 4, torch.Generator())


def test_what_faces_follow_is_found_and_the_intervals_hold_what_they_promise():
    seen = viewings(frowns)
    held_out = figures(cross_predict(seen, 0, QUIET), 0)
    assert held_out.better_than_chance and held_out.ci95[0] > 0.6
    assert held_out.rank_correlation > 0.3
    np.testing.assert_allclose(held_out.coverage, [0.5, 0.8, 0.95], atol=0.06)
    heads = fit_heads(seen, 0, QUIET)
    fresh = torch.randn(200, WIDTH, generator=torch.Generator().manual_seed(1)) / WIDTH**0.5
    prediction = heads(fresh, torch.zeros(200, WIDTH))
    assert np.corrcoef(prediction.mean, fresh[:, 0])[0, 1] < -0.8
    assert ((prediction.mean > -1) & (prediction.mean < 0)).all()
    assert (prediction.uncertainty > 0).all()
    again = fit_heads(seen, 0, QUIET)
    assert all(torch.equal(one, other) for one, other in zip(heads.parameters(), again.parameters(), strict=True))


def test_it_is_less_sure_where_it_has_seen_nothing():
    heads = fit_heads(viewings(frowns), 0, QUIET)
    known, far = torch.zeros(1, WIDTH), 3 * torch.eye(WIDTH)[1:]
    assert heads(far, torch.zeros(WIDTH - 1, WIDTH)).uncertainty.mean() > heads(known, known).uncertainty.item()


def test_noise_is_no_better_than_chance_and_stays_near_the_mean():
    seen = viewings(noise)
    predicted = cross_predict(seen, 0, QUIET)
    assert not figures(predicted, 0).better_than_chance
    assert predicted.mean.std() < 0.3 * seen.valences.std().item()
    assert predicted.mean.mean() == pytest.approx(seen.valences.mean().item(), abs=0.02)


def test_what_is_learnt_by_heart_of_a_prompt_counts_for_nothing():
    """All viewers see the same pictures and make the same of each, for no reason: only other prompts tell."""
    rng = np.random.default_rng(3)
    pictures = np.tile(rng.standard_normal((SESSIONS * IMAGES, WIDTH)) / np.sqrt(WIDTH), (VIEWERS, 1))
    liking = np.tile(noise(pictures[: SESSIONS * IMAGES], np.zeros(SESSIONS * IMAGES), rng), VIEWERS)
    prompts = np.tile(np.repeat([f"prompt {number}" for number in range(SESSIONS)], IMAGES), VIEWERS)
    seen = viewings(lambda *_: liking, prompts=prompts, pictures=pictures)
    by_heart = fit_heads(seen, 0, QUIET)(seen.images, seen.texts).mean
    assert np.corrcoef(by_heart, liking)[0, 1] > 0.8
    predicted = cross_predict(seen, 0, QUIET)
    assert abs(np.corrcoef(predicted.mean, predicted.observed)[0, 1]) < 0.5


def test_the_parts_of_a_fold_share_neither_viewers_nor_prompts():
    rng = np.random.default_rng(0)
    prompts = np.array([f"prompt {number}" for number in rng.integers(30, size=VIEWERS * SESSIONS)]).repeat(IMAGES)
    seen = viewings(noise, prompts=prompts)
    held_out_users = []
    for training, held_out in folds(seen, 0):
        assert training.sum() > 150 and held_out.sum() > 10
        for column in (seen.users, seen.prompts):
            assert not set(column[training]) & set(column[held_out])
        held_out_users += sorted(set(seen.users[held_out]))
    assert sorted(held_out_users) == sorted(set(seen.users))
