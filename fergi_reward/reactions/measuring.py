"""The clips of a video, and why one cannot be used."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.core.registry import LIBRARY, blaming
from fergi_reward.reactions.backends.base import Backend, assemble
from fergi_reward.reactions.clip import MIN_VALID_SHARE, ReactionClip, window_lengths
from fergi_reward.reactions.manifest import Recording
from fergi_reward.reactions.video import read_windows

Measured = tuple[ReactionClip, NDArray[np.int64]]


def measured(rows: Sequence[Recording], backend: Backend) -> Iterator[tuple[Recording, Measured | FergiRewardError]]:
    """Measure windows of one video.

    Args:
        rows: Rows of one video, by the start of their windows.
        backend: What measures.

    Yields:
        For each its clip and how many faces are in each frame; or why there is none.

    Raises:
        MissingDependencyError: A package is not installed.
    """
    for row, pictures in zip(rows, read_windows(rows[0].path, [row.window for row in rows]), strict=True):
        try:
            with blaming(f"the backend {backend.source!r}", _origin(backend)):
                frames = list(backend.measure(pictures))
            clip, faces = assemble(frames, backend), np.array([frame.faces for frame in frames])
            if problem := fault(clip, faces):
                raise FergiRewardError(f"{row.video}: {problem}")
        except MissingDependencyError:
            raise
        except FergiRewardError as error:
            yield row, error
        else:
            yield row, (clip, faces)


def _origin(backend: Backend) -> str:
    """Who wrote a backend, by the module of its class."""
    module = type(backend).__module__
    return LIBRARY if module.partition(".")[0] == LIBRARY else module


def fault(clip: ReactionClip, faces: NDArray[np.int64]) -> str | None:
    """Why a clip cannot be used; None where it can.

    Args:
        clip: The clip.
        faces: How many faces are in each frame, (T,).
    """
    frames = len(clip.timestamps)
    window = max(2, int(window_lengths(clip.timestamps).max(initial=1)))
    if frames < window:
        return f"the clip has {frames} frames, a moving mean takes {window}: record for longer"
    if not faces.any():
        return f"no face is seen in any of the {frames} frames"
    if not clip.is_valid():
        others = " (where the viewer is not seen, another face is not measured)" * bool(
            ((faces > 0) & (clip.face_confidence == 0)).any()
        )
        return (
            f"the viewer's face is seen from the front for {clip.valid_share():.0%} of the time, needed are "
            f"{MIN_VALID_SHARE:.0%}{others}"
        )
    if any(map(np.isnan, clip.activation().values())):
        return "there is no tenth of a second with the viewer's face from the front"
    return None
