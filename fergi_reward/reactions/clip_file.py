"""A reaction clip as a Parquet file: a row a frame, pose in degrees, and no picture."""

import json
from dataclasses import dataclass
from pathlib import Path

from fergi_reward.errors import FergiRewardError
from fergi_reward.files import written_whole
from fergi_reward.reactions.clip import DEGREES, ReactionClip

SCHEMA = 1
KEY = b"fergi_reward"  # of the file's own metadata
COLUMNS = ("timestamp", "face_confidence", "pitch_degrees", "yaw_degrees")


@dataclass(frozen=True)
class StoredClip:
    """A clip with what is known of its making.

    Attributes:
        clip: Its pose is in degrees.
        video_bytes: Size of the video, so that another one of that name is noticed.
        faces: The most faces in one frame.
    """

    clip: ReactionClip
    video_bytes: int
    faces: int


def write_clip(path: Path, stored: StoredClip) -> None:
    """Write a clip, whole or not at all."""
    import pyarrow as pa
    from pyarrow import parquet

    clip = stored.clip
    arrays = [clip.timestamps, clip.face_confidence, clip.pitch, clip.yaw, *clip.intensities.T]
    made = {"schema": SCHEMA, "source": clip.source, "video_bytes": stored.video_bytes, "faces": stored.faces}
    table = pa.table(dict(zip([*COLUMNS, *clip.action_units], arrays, strict=True)))
    with written_whole(path) as temporary:
        parquet.write_table(table.replace_schema_metadata({KEY: json.dumps(made)}), temporary)


def read_clip_file(path: Path) -> StoredClip:
    """Read a clip that `write_clip` wrote.

    Raises:
        FergiRewardError: It is missing, damaged, or no such file.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, partitioning=None)
        made = json.loads((table.schema.metadata or {})[KEY])
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise FergiRewardError(f"{path} is no reaction clip ({error}): extract it again") from error
    if made["schema"] != SCHEMA:
        raise FergiRewardError(f"{path} has schema {made['schema']}, this version reads {SCHEMA}: extract it again")
    units = tuple(name for name in table.column_names if name not in COLUMNS)
    timestamps, confidence, pitch, yaw = (table[name].to_numpy() for name in COLUMNS)
    intensities = table.select(units).to_pandas().to_numpy(dtype=float)
    clip = ReactionClip(timestamps, intensities, units, confidence, pitch, yaw, DEGREES, made["source"])
    return StoredClip(clip, made["video_bytes"], made["faces"])
