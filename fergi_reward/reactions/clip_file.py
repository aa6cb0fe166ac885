"""A reaction clip as a Parquet file: a row per frame, pose in degrees, no picture; and what it was measured from."""

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import atomic_path
from fergi_reward.files.digests import record_digest
from fergi_reward.files.json_files import parse_json
from fergi_reward.files.json_records import checked
from fergi_reward.files.ordinary_files import opened
from fergi_reward.reactions.clip import DEGREES, ReactionClip, shown_for
from fergi_reward.reactions.video import Window

SCHEMA = 2
MAX_BYTES = 1 << 28
KEY = b"fergi_reward"  # of the file's own metadata
COLUMNS = ("timestamp", "face_confidence", "pitch_degrees", "yaw_degrees", "faces")


@dataclass(frozen=True)
class Origin:
    """What a clip was measured from, and whose it is.

    Attributes:
        user: A pseudonym.
        session: In which session.
        image: At which image they looked.
        kind: `reaction` or `baseline`.
        consent: The day on which they agreed, YYYY-MM-DD.
        video: Its name in the manifest.
        place: Digest of where it was, by which a video that is deleted by now is known.
        digest: Digest of its bytes.
        start: Start of the window, in seconds from the start of the video.
        end: End of the window; None where it is all of the video.
        source: The scale of the action units.
        backend: What measured, with its version.
    """

    user: str
    session: str
    image: str
    kind: str
    consent: str
    video: str
    place: str
    digest: str
    start: float
    end: float | None
    source: str
    backend: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells reactions apart."""
        return self.user, self.session, self.image, self.kind

    @property
    def window(self) -> Window:
        """The part of the video."""
        return Window(self.start, math.inf if self.end is None else self.end)

    @property
    def name(self) -> str:
        """The name of its file: it differs with the content and the owner, and identifies no person."""
        identity = [*self.key, self.digest, self.start, self.end, self.source, self.backend]
        return f"{record_digest(identity)}.parquet"


ORIGIN = {field.name: "text" for field in fields(Origin)} | {"start": "number", "end": "optional"}


@dataclass(frozen=True)
class StoredClip:
    """A clip with what is known of its making.

    Attributes:
        clip: Its pose is in degrees.
        faces: How many faces are in each frame, (T,).
        origin: What it was measured from.
    """

    clip: ReactionClip
    faces: NDArray[np.int64]
    origin: Origin

    def crowded_share(self) -> float:
        """The share of the time in which there are several faces."""
        seconds = shown_for(self.clip.timestamps)
        return float(seconds[self.faces > 1].sum() / seconds.sum())


def write_clip(path: Path, stored: StoredClip) -> None:
    """Write a clip, whole or not at all, for its owner alone to read."""
    import pyarrow as pa
    from pyarrow import parquet

    clip = stored.clip
    arrays = [clip.timestamps, clip.face_confidence, clip.pitch, clip.yaw, stored.faces, *clip.intensities.T]
    made = {"schema": SCHEMA, **asdict(stored.origin)}
    table = pa.table(dict(zip([*COLUMNS, *clip.action_units], arrays, strict=True)))
    with atomic_path(path, private=True) as temporary:
        parquet.write_table(table.replace_schema_metadata({KEY: json.dumps(made)}), temporary)


def read_origin(path: Path) -> Origin:
    """What a clip was measured from, without its frames.

    Raises:
        FergiRewardError: The clip is missing, damaged, or no such file.
    """
    try:
        with opened(path, MAX_BYTES) as file:
            return _origin(path, file)
    except OSError as error:
        raise _no_clip(path, error) from error


def read_clip_file(path: Path) -> StoredClip:
    """Read a clip that `write_clip` wrote.

    Raises:
        FergiRewardError: It is missing, damaged, or no such file.
    """
    from pyarrow import parquet

    try:
        with opened(path, MAX_BYTES) as file:
            origin = _origin(path, file)
            table = parquet.ParquetFile(file).read(use_threads=False)
        timestamps, confidence, pitch, yaw, faces = (table[name].to_numpy() for name in COLUMNS)
        units = tuple(name for name in table.column_names if name not in COLUMNS)
        intensities = np.column_stack([table[unit].to_numpy() for unit in units]).astype(float)
        clip = ReactionClip(timestamps, intensities, units, confidence, pitch, yaw, DEGREES, origin.source)
    except FergiRewardError:
        raise
    except Exception as error:  # whatever a damaged file makes Parquet do
        raise _no_clip(path, error) from error
    return StoredClip(clip, faces, origin)


def _origin(path: Path, file: BinaryIO) -> Origin:
    from pyarrow import parquet

    try:
        made = parse_json((parquet.read_schema(file).metadata or {})[KEY])
        schema = made.pop("schema")
        if schema == SCHEMA:
            return Origin(**checked(made, ORIGIN, str(path), "extract it again"))
    except FergiRewardError:
        raise
    except Exception as error:
        raise _no_clip(path, error) from error
    raise FergiRewardError(f"{path} has schema {schema}, this version reads {SCHEMA}: extract it again")


def _no_clip(path: Path, error: Exception) -> FergiRewardError:
    return FergiRewardError(f"{path} is no reaction clip ({error}): extract it again")
