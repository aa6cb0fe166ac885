"""The page films those who allowed it, and nobody else."""

import numpy as np
import pandas as pd
import pytest

from fergi_reward.collect.simulation.participant import withdraw
from fergi_reward.reactions.backends.mediapipe import MediaPipeBackend
from fergi_reward.reactions.clip_file import read_clip_file
from fergi_reward.reactions.extract import extract
from fergi_reward.reactions.folder import ReactionFolder
from fergi_reward.reactions.video import read_frames


@pytest.fixture(scope="module")
def study(serve_study, measures):
    return serve_study(*measures, "--offer-video", pictures=2)


def asked(came):
    """A list that fills with the addresses that a page asks for from now on."""
    addresses = []
    came.page.on("request", lambda request: addresses.append(request.url.removeprefix(came.page.url)))
    return addresses


def videos(study):
    return sorted((study.options.out / "videos").glob("*"))


def test_who_allows_video_is_filmed_and_who_withdraws_is_not_kept(study, arrive, browser, face_model, tmp_path):
    came = arrive(study)
    while came.step != "trial":
        came.take_step()
    assert came.page.locator("#preview").get_attribute("aria-label") == came.words["camera.preview_video"]
    came.button("trial.start").click()
    came.page.get_by_text(came.words["camera.recording"]).wait_for()
    came.next_screen()
    name = came.take_part().name
    assert [line for line in came.page.complaints if not line.startswith("INFO: ")] == []
    films = videos(study)
    assert len(films) == 2 and {path.suffix for path in films} == {".webm"}
    for path in films:
        times = [frame.timestamp for frame in read_frames(path)]
        assert len(times) > 20 and times[-1] > 2  # 0.7 s before the picture, and 1.6 s of it
    export(came, study)
    folder = tmp_path / "extracted"
    assert extract(study.options.out / "videos.csv", MediaPipeBackend(face_model), folder).clips == 4
    found = pd.read_csv(folder / "manifest.csv").sort_values("au4")
    assert ReactionFolder(folder).training() == {name: True}
    assert set(found["user"]) == {name} and sorted(found["kind"]) == 2 * ["baseline"] + 2 * ["reaction"]
    strongest = found.iloc[-1]
    assert strongest["kind"] == "reaction"
    # The brows come down from 0.4 to 1.0 s after the picture appeared: half of the way at 0.7 s.
    assert 0.5 < half_way(read_clip_file(folder / strongest["clip"]).clip, strongest["start"]) < 0.95
    withdraw(browser, study.address, came.code, came.words)
    assert videos(study) == []


def half_way(clip, onset):
    """When the brows are half as low as they will be, in seconds after the picture appeared."""
    times, lowering = clip.timestamps - onset, clip.intensities[:, 0]
    middle = (np.nanmedian(lowering[times < 0.3]) + np.nanmedian(lowering[times > 1.1])) / 2
    return times[lowering > middle].min()


def export(came, study):
    _, token = study.operator.split("#")
    script = """async (token) => (await fetch("/api/operator/export", { method: "POST", body: "{}", headers: {
        "X-Collect": "1", "Content-Type": "application/json", Authorization: `Bearer ${token}` } })).status"""
    assert came.page.evaluate(script, token) == 200


def test_without_the_tick_nothing_is_filmed(study, arrive):
    came = arrive(study, 1)
    came._will_reload = False
    addresses = asked(came)
    for box in came.page.get_by_role("checkbox").all()[:2]:
        box.check()
    assert not came.page.get_by_role("checkbox", name=came.words["consent.video"]).is_checked()
    came.press(came.button("consent.agree"))
    before = videos(study)
    came.take_part()
    assert [address for address in addresses if "/end" in address]
    assert [address for address in addresses if "video" in address or "film" in address] == []
    assert videos(study) == before
