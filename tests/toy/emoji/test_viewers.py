import numpy as np
import pytest
import torch
from PIL import Image

from fergi_reward.data.fergi import read_fergi
from fergi_reward.data.shown_pictures import read_pictures
from fergi_reward.data.simulated import simulate_clip, simulate_expressiveness, simulate_viewing
from fergi_reward.images import to_pixels
from fergi_reward.reactions.clip import valence
from fergi_reward.toy import tiny
from fergi_reward.toy.emoji.judge import judge
from fergi_reward.toy.emoji.pictures import SEEN
from fergi_reward.toy.emoji.viewers import draw_exhibits, write_emoji_fergi

SESSIONS = 1200
DECAY = 0.4
# As in FERGI (arXiv 2312.03187): AU4 ranks 56.6 % of the pairs, and 74.9 % of the 15.6 % in which it differs most.
AU4_ACCURACY, CONFIDENT_ACCURACY, CONFIDENT_SHARE = 0.566, 0.749, 0.156


@pytest.mark.parametrize("noise", [0.7, 1.2])
def test_a_face_says_as_much_as_in_fergi(noise: float) -> None:
    rng = np.random.default_rng(0)
    differences = []
    for session in range(SESSIONS):
        if session % 20 == 0:
            expressiveness = simulate_expressiveness(rng)
        images = simulate_viewing(*rng.standard_normal((2, 5)), {}, expressiveness, rng, noise=noise)
        clips = [simulate_clip(image.au4_rise, rng) for image in images]
        values = [valence(np.array(clip.activation()["au4"]), DECAY) for clip in clips]
        known = [(image.rank, value) for image, value in zip(images, values, strict=True) if np.isfinite(value)]
        differences += [one - other for rank, one in known for lower, other in known if rank > lower]
    differences = np.array(differences)
    most_different = np.argsort(-np.abs(differences))[: int(len(differences) * CONFIDENT_SHARE)]
    assert abs((differences > 0).mean() - AU4_ACCURACY) < 0.02
    assert abs((differences[most_different] > 0).mean() - CONFIDENT_ACCURACY) < 0.04


def test_the_truth_about_exhibits_is_what_the_judge_finds() -> None:
    exhibits = draw_exhibits(80, torch.Generator().manual_seed(0))
    assert len({tuple(exhibits.captions[row : row + 5]) for row in range(0, 400, 5)}) > 50
    assert all(len(set(exhibits.captions[row : row + 5])) == 1 for row in range(0, 400, 5))
    assert {scene.caption for scene in SEEN}.issuperset(exhibits.captions)
    np.testing.assert_allclose([exhibits.alignment.std(ddof=1), exhibits.fidelity.std(ddof=1)], 1, rtol=1e-5)
    verdict = judge(exhibits.pixels, exhibits.captions)
    faultless = exhibits.fidelity == exhibits.fidelity.max()
    assert (verdict.psnr.numpy()[faultless] == 60).all()
    assert np.corrcoef(verdict.psnr, exhibits.fidelity)[0, 1] > 0.6
    aligned = exhibits.alignment[faultless] == exhibits.alignment.max()
    np.testing.assert_array_equal(aligned, (verdict.right_object & verdict.right_colour).numpy()[faultless])


def test_what_the_viewers_saw_is_next_to_what_they_did(tmp_path) -> None:
    write_emoji_fergi(tmp_path, [], participants=3, sessions=2, seed=1)
    exhibits = draw_exhibits(6, torch.Generator().manual_seed(1))
    pictures = read_pictures(tmp_path)
    seen = [picture for key, picture in sorted(pictures.items())]
    assert [picture.prompt for picture in seen] == exhibits.captions
    for picture, pixels in zip(seen, exhibits.pixels, strict=True):
        with Image.open(picture.path) as image:
            torch.testing.assert_close(to_pixels(image), pixels, rtol=0, atol=0.5 / 255 + 1e-6)
    table = read_fergi(tmp_path)
    keys = table.images[["user", "session", "image"]].astype(str).itertuples(index=False, name=None)
    assert set(keys) == set(pictures)


def test_the_folder_is_read_as_fergi(tmp_path) -> None:
    scorer = tiny.hps()
    write_emoji_fergi(tmp_path, [scorer], participants=3, sessions=2, seed=1)
    table, from_frames = read_fergi(tmp_path), read_fergi(tmp_path, from_frames=True)
    assert len(table.images) == 30 and table.au_source == "simulated"
    np.testing.assert_allclose(table.images["au4"], from_frames.images["au4"], atol=1e-6)
    exhibits = draw_exhibits(6, torch.Generator().manual_seed(1))
    np.testing.assert_allclose(table.images["hps_v2"], scorer.score(exhibits.pixels, exhibits.captions), atol=1e-5)
