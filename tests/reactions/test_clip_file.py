import numpy as np
import pandas as pd
import pytest

from fergi_reward.errors import FergiRewardError
from fergi_reward.reactions.clip import DEGREES, ReactionClip
from fergi_reward.reactions.clip_file import StoredClip, read_clip_file, write_clip


def stored_clip(au4=(0.1, 0.4)):
    ones = np.ones(2)
    clip = ReactionClip(np.array([0.0, 1.0]), np.array([au4]).T, ("au4",), ones, 0 * ones, 5 * ones, DEGREES, "camera")
    return StoredClip(clip, video_bytes=7, faces=1)


def test_a_clip_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "clip.parquet"
    write_clip(path, stored_clip(au4=(0.1, 1 / 3)))
    back = read_clip_file(path)
    assert (back.video_bytes, back.faces, back.clip.source, back.clip.frontal) == (7, 1, "camera", DEGREES)
    assert back.clip.intensities.tolist() == [[0.1], [1 / 3]]
    assert back.clip.yaw.tolist() == [5.0, 5.0]


@pytest.mark.parametrize("damage", ["missing", "half", "text", "other"])
def test_a_damaged_clip_is_named(tmp_path, damage):
    path = tmp_path / "clip.parquet"
    write_clip(path, stored_clip())
    if damage == "missing":
        path.unlink()
    elif damage == "half":
        path.write_bytes(path.read_bytes()[:300])
    elif damage == "text":
        path.write_text("user,au4\n")
    else:
        pd.DataFrame({"timestamp": [0.0]}).to_parquet(path)
    with pytest.raises(FergiRewardError, match=r"clip.parquet is no reaction clip"):
        read_clip_file(path)
