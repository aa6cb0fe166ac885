import numpy as np
import pandas as pd
import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.faces.recorded import Recorded
from fergi_reward.reactions.source_map import SourceMap
from fergi_reward.reactions.table import ReactionTable

DOUBLED = SourceMap("camera", "fergi-ir50", ((0, 0), (1, 2)), "by hand", 20, ("ann",), 20, ("ann",), "0.1.0")


def table():
    images = pd.DataFrame({"user": ["ann", "bob", "bob"], "session": 1, "image": ["cat", "cat", "dog"]})
    faces = images.assign(au4=[0.5, 1.5, np.nan], au12=1.0, au4_landmarks=0.1, aurora=7)
    return ReactionTable(faces, images.assign(au4=0.25), "camera")


def test_a_mapped_table_has_au4_alone_on_the_other_scale():
    mapped = table().mapped(DOUBLED)
    assert (mapped.au_source, mapped.mapped_from) == ("fergi-ir50", "camera")
    assert mapped.images["au4"].tolist() == pytest.approx([1.0, 3.0, np.nan], nan_ok=True)
    assert mapped.baseline["au4"].tolist() == [0.5] * 3
    assert list(mapped.images) == ["user", "session", "image", "au4", "aurora"]


def test_recorded_reactions_are_the_mean_over_viewers_and_can_be_mapped():
    recorded = Recorded.of(table())
    assert (recorded.activations, recorded.source) == ({"cat": {"au4": 1.0, "au12": 1.0}}, "camera")
    mapped = recorded.mapped(DOUBLED)
    assert (mapped.activations, mapped.source) == ({"cat": {"au4": 2.0}}, "fergi-ir50")
    for twice in (mapped, table().mapped(DOUBLED)):
        with pytest.raises(FergiRewardError, match="leads from AU source 'camera', got reactions from 'fergi-ir50'"):
            twice.mapped(DOUBLED)


def test_recorded_reactions_of_pictures_that_are_numbers_within_a_session():
    """Every row of a folder in FERGI's layout keeps its own reaction: `image` is a number there."""
    rows = [(user, session, image) for user in ("001", "002") for session in (1, 2) for image in (1, 2, 3)]
    images = pd.DataFrame(rows, columns=["user", "session", "image"]).assign(au4=np.arange(12) / 4)
    with pytest.raises(FergiRewardError, match=r"image 1 is in 4 sessions .* by=\"viewing\""):
        Recorded.of(ReactionTable(images))
    with pytest.raises(FergiRewardError, match="image 1 is in 2 sessions"):  # of two users, with one session each
        Recorded.of(ReactionTable(images[images["session"] == 1]))
    recorded = Recorded.of(ReactionTable(images), by="viewing")
    assert recorded.activations == {"/".join(map(str, row)): {"au4": number / 4} for number, row in enumerate(rows)}


def test_recorded_reactions_whose_ids_would_be_the_same():
    images = pd.DataFrame({"user": ["a/1", "a"], "session": ["2", "1/2"], "image": "cat.png", "au4": [0.5, 1.5]})
    with pytest.raises(FergiRewardError, match=r"two viewings have the id a/1/2/cat\.png"):
        Recorded.of(ReactionTable(images), by="viewing")
    again = images.assign(user="ann")
    with pytest.raises(FergiRewardError, match=r"image cat\.png is in 2 sessions"):
        Recorded.of(ReactionTable(again))


def test_an_image_is_seen_once_by_a_viewer_in_a_session():
    with pytest.raises(
        FergiRewardError, match="a reaction table needs the columns user, session, image; image missing"
    ):
        ReactionTable(table().images.drop(columns="image"))
    with pytest.raises(FergiRewardError, match="participant bob, session 1: image cat is given twice"):
        ReactionTable(table().images.assign(image="cat"))
