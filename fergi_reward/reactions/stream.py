"""The activation while the viewer is still looking: frame by frame, and after each what the batch would give."""

from collections.abc import Sequence

import numpy as np

from fergi_reward.reactions.clip import NEIGHBOURS, Floats, moving_means, window_lengths


class ActivationStream:
    """The activation of the frames so far.

    What a window gives may change until the local frame rate of all its frames is known; only such newest windows are
    looked at again when a frame comes.

    Args:
        action_units: How many columns the intensities have.
    """

    def __init__(self, action_units: int) -> None:
        self._timestamps: list[float] = []
        self._intensities: list[Sequence[float]] = []
        self._valid: list[bool] = []
        self._context = 0  # frames at the front whose windows are settled: they tell the frame rate after them
        self._first = self._highest = np.full(action_units, np.nan)

    def add(self, timestamp: float, intensities: Sequence[float], valid: bool) -> Floats:
        """Take a frame.

        Args:
            timestamp: Seconds, after the last one.
            intensities: One per action unit.
            valid: Whether the frame counts, as `clip.valid_frames` has it.

        Returns:
            The activation of all frames so far, one per action unit; NaN until a window counts.
        """
        self._timestamps.append(timestamp)
        self._intensities.append(intensities)
        self._valid.append(valid)
        timestamps = np.array(self._timestamps)
        means = moving_means(timestamps, np.array(self._intensities, dtype=float), np.array(self._valid))
        ends = np.arange(len(means)) + window_lengths(timestamps) + 2 * NEIGHBOURS
        settled = max(self._context, int((ends < len(means)).sum()))
        self._first, self._highest = self._with(means[self._context : settled])
        first, highest = self._with(means[settled:])
        self._forget(settled)
        return highest - first

    def _with(self, means: Floats) -> tuple[Floats, Floats]:
        """The first and the highest mean, with further windows."""
        counted = means[np.isfinite(means).all(axis=1)]
        if not len(counted):
            return self._first, self._highest
        first = np.where(np.isnan(self._first), counted[0], self._first)
        return first, np.fmax(self._highest, counted.max(axis=0))

    def _forget(self, settled: int) -> None:
        """Keep, of the frames whose windows are settled, those that tell the frame rate after them."""
        dropped = max(0, settled - NEIGHBOURS)
        self._context = settled - dropped
        for values in (self._timestamps, self._intensities, self._valid):
            del values[:dropped]
