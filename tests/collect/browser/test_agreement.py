"""The page's measuring worker and the backend of `extract`, on the same frames of a face."""

import numpy as np
import pytest
from browser_backend import BrowserBackend

from fergi_reward.collect.simulation.faces import LARGEST, Look, frame
from fergi_reward.reactions.backends.base import assemble
from fergi_reward.reactions.backends.mediapipe import MediaPipeBackend
from fergi_reward.reactions.video import VideoFrame
from tests.browser import new_page

LOOK = Look(scale=1.8, right=-120)  # so that the head seems to be turned


@pytest.fixture(scope="module")
def frames():
    """The brows come down; at last nobody is there. The picture is wider than high."""
    seen = [frame(LOOK, lowering) for lowering in [0, 0, 0, *np.linspace(0, LARGEST, 9)]]
    nobody = np.zeros_like(seen[0])
    return [VideoFrame(number / 30, pixels) for number, pixels in enumerate([*seen, nobody, nobody])]


def test_the_browser_measures_what_extract_measures(frames, serve_study, measures, browser, face_model):
    backend = MediaPipeBackend(face_model)
    page = new_page(browser)
    page.goto(serve_study(*measures).address)
    by_extract, by_browser = list(backend.measure(frames)), list(BrowserBackend(page).measure(frames))
    page.context.close()

    assert [face.faces for face in by_extract] == [1] * 12 + [0] * 2
    assert [face.faces for face in by_browser] == [face.faces for face in by_extract]
    ours, theirs = assemble(by_extract, backend), assemble(by_browser, backend)
    assert theirs.face_confidence.tolist() == ours.face_confidence.tolist()
    # The brows are lowered by 0.08; the two builds of MediaPipe round differently.
    assert ours.activation()["au4"] > 0.005
    assert theirs.activation() == pytest.approx(ours.activation(), abs=2e-4)
    assert theirs.intensities == pytest.approx(ours.intensities, abs=1e-3, nan_ok=True)
    assert theirs.yaw == pytest.approx(ours.yaw, abs=0.2, nan_ok=True)
    assert theirs.pitch == pytest.approx(ours.pitch, abs=0.2, nan_ok=True)
    assert np.nanmin(np.abs([ours.yaw, ours.pitch])) > 1  # so that a sign matters
