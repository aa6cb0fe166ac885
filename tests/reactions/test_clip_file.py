import json
import os
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reactions.clip import DEGREES, ReactionClip
from fergi_reward.reactions.clip_file import KEY, Origin, StoredClip, read_clip_file, read_origin, write_clip


def stored_clip(au4=(0.1, 0.4)):
    ones = np.ones(2)
    clip = ReactionClip(np.array([0.0, 1.0]), np.array([au4]).T, ("au4",), ones, 0 * ones, 5 * ones, DEGREES, "camera")
    origin = Origin("ann", "1", "cat", "reaction", "2026-01-31", "a.mp4", "00", "11", 0.5, None, "camera", "camera 1")
    return StoredClip(clip, np.array([1, 2]), origin)


def test_a_clip_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "clip.parquet"
    write_clip(path, stored_clip(au4=(0.1, 1 / 3)))
    back = read_clip_file(path)
    assert (back.origin, back.clip.frontal) == (stored_clip().origin, DEGREES)
    assert read_origin(path) == back.origin
    assert back.crowded_share() == 0.5
    assert back.clip.intensities.tolist() == [[0.1], [1 / 3]]
    assert back.clip.yaw.tolist() == [5.0, 5.0]


@pytest.mark.parametrize("damage", ["missing", "half", "text", "other", "pipe"])
def test_a_damaged_clip_is_named(tmp_path, damage):
    path = tmp_path / "clip.parquet"
    write_clip(path, stored_clip())
    if damage == "missing":
        path.unlink()
    elif damage == "half":
        path.write_bytes(path.read_bytes()[:300])
    elif damage == "pipe":
        path.unlink()
        os.mkfifo(path)
    elif damage == "text":
        path.write_text("user,au4\n")
    else:
        pd.DataFrame({"timestamp": [0.0]}).to_parquet(path)
    with pytest.raises(FergiRewardError, match=r"clip.parquet is no reaction clip"):
        read_clip_file(path)


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        ("[" * 9999, "is no reaction clip"),
        ('{"user": "ann", "user": "bob"}', "'user' is given twice"),
        (json.dumps({"schema": 2, **asdict(stored_clip().origin), "user": 3}), "user is 3, must be a text"),
        (json.dumps({"schema": 2, **asdict(stored_clip().origin), "start": "0"}), "start is '0', must be a finite"),
        (json.dumps({"schema": 3}), "has schema 3, this version reads 2"),
    ],
)
def test_a_clip_says_what_is_wrong_with_what_it_was_measured_from(tmp_path, origin, message):
    path = tmp_path / "clip.parquet"
    write_clip(path, stored_clip())
    parquet.write_table(parquet.read_table(path).replace_schema_metadata({KEY: origin}), path)
    with pytest.raises(FergiRewardError, match=message):
        read_origin(path)
