"""`fergi-reward extract`: from videos of faces to reaction clips; goes on where it stopped."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fergi_reward.errors import FergiRewardError, MissingDependencyError
from fergi_reward.files import written_whole
from fergi_reward.reactions.backends.base import Backend, assemble
from fergi_reward.reactions.clip import MIN_VALID_SHARE, ReactionClip, window_length
from fergi_reward.reactions.clip_file import StoredClip, read_clip_file, write_clip
from fergi_reward.reactions.folder import CLIP_KEY, ReactionFolder, Row
from fergi_reward.reactions.manifest import Recording, read_recordings
from fergi_reward.reactions.video import read_frames


@dataclass(frozen=True)
class Extraction:
    """What came of a run.

    Attributes:
        clips: How many of the videos asked for have a clip now.
        failures: A row a video that has none, as `errors.csv` has it.
        crowded: Videos in which several faces were seen at once.
    """

    clips: int
    failures: Sequence[Row]
    crowded: Sequence[str]


def extract(videos: Path | str, backend: Backend, out: Path | str, *, keep_video: bool = False) -> Extraction:
    """Measure every video that has no clip yet, with a progress bar, and write the tables of the folder.

    Nothing of a video is written but the numbers of its clip, unless it is to be kept.

    Args:
        videos: A manifest, or the folder that holds it (`manifest.read_recordings`).
        backend: What measures.
        out: The folder of reactions; it may hold clips of earlier runs.
        keep_video: Copy the videos into the folder, too.

    Raises:
        FergiRewardError: The manifest cannot be used, consent is missing, or the folder's clips are of another source.
        MissingDependencyError: The backend's package is not installed.
    """
    recordings, folder = read_recordings(videos), ReactionFolder(out)
    rows: dict[tuple[str, ...], Row] = {tuple(row[name] for name in CLIP_KEY): row for row in folder.rows()}
    if rows and (source := next(iter(rows.values()))["source"]) != backend.source:
        raise FergiRewardError(
            f"{out} holds reactions from {source}, this backend measures {backend.source}, and their scales differ: "
            "give another --out"
        )
    failures = []
    for recording in tqdm(recordings, desc="extracting", unit="video"):
        try:
            rows[recording.key] = _extract_one(recording, backend, folder, keep_video)
        except MissingDependencyError:
            raise
        except FergiRewardError as error:
            rows.pop(recording.key, None)
            failures.append(_named(recording) | {"error": str(error)})
    folder.write_rows(list(rows.values()), backend.action_units)
    folder.write_failures(failures)
    extracted = [rows[recording.key] for recording in recordings if recording.key in rows]
    return Extraction(len(extracted), failures, [str(row["video"]) for row in extracted if int(str(row["faces"])) > 1])


def fault(clip: ReactionClip) -> str | None:
    """Why a clip cannot be used; None where it can."""
    frames, window, valid = len(clip.timestamps), window_length(clip.timestamps), clip.valid_frames()
    if frames < 2 or frames < window:
        return f"the clip has {frames} frames, a moving mean takes {max(2, window)}: record for longer"
    if not clip.face_confidence.any():
        return f"no face is seen in any of the {frames} frames"
    if not clip.is_valid():
        return f"a face from the front is seen in {valid.mean():.0%} of the frames, needed are {MIN_VALID_SHARE:.0%}"
    if any(map(np.isnan, clip.activation().values())):
        return f"there is no stretch of {window} frames with a face from the front"
    return None


def _extract_one(recording: Recording, backend: Backend, folder: ReactionFolder, keep_video: bool) -> Row:
    """The row of a recording; its clip is read where it is there, and measured where it is not."""
    place = folder.clip(*recording.key)
    stored = _stored(folder.path / place, recording, backend)
    if stored is None:
        (folder.path / place).unlink(missing_ok=True)
        stored = _measured(recording, backend)
        write_clip(folder.path / place, stored)
    if keep_video and recording.path.exists():
        with written_whole(folder.path / folder.video(*recording.key, recording.path.suffix)) as temporary:
            shutil.copyfile(recording.path, temporary)
    return _row(recording, stored, place)


def _stored(path: Path, recording: Recording, backend: Backend) -> StoredClip | None:
    """The clip of an earlier run, if it is whole and of this backend and video; the video may be deleted by now."""
    try:
        stored = read_clip_file(path)
    except FergiRewardError:  # missing or damaged: to be measured
        return None
    is_same_video = not recording.path.exists() or recording.path.stat().st_size == stored.video_bytes
    return stored if is_same_video and stored.clip.source == backend.source else None


def _measured(recording: Recording, backend: Backend) -> StoredClip:
    """Measure a video.

    Raises:
        FergiRewardError: It cannot be read, or its clip cannot be used.
    """
    frames = list(backend.measure(read_frames(recording.path)))
    clip = assemble(frames, backend)
    if problem := fault(clip):
        raise FergiRewardError(f"{recording.video}: {problem}")
    return StoredClip(clip, recording.path.stat().st_size, max(frame.faces for frame in frames))


def _named(recording: Recording) -> dict[str, object]:
    return {**dict(zip(CLIP_KEY, recording.key, strict=True)), "video": recording.video}


def _row(recording: Recording, stored: StoredClip, place: Path) -> Row:
    clip = stored.clip
    return _named(recording) | {
        "consent": recording.consent,
        "clip": place.as_posix(),
        "source": clip.source,
        "frames": len(clip.timestamps),
        "seconds": round(float(clip.timestamps[-1] - clip.timestamps[0]), 3),
        "valid_share": round(float(clip.valid_frames().mean()), 4),
        "faces": stored.faces,
        **clip.activation(),
    }
