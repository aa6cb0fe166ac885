"""The activation while the viewer is still looking: frame by frame, and after each what the batch would give."""

from collections.abc import Sequence

import numpy as np

from fergi_reward.reactions.clip import Floats, window_length


class ActivationStream:
    """The activation of the frames so far.

    The window follows the frame rate. While a new frame leaves its length as it was, only the newest window is looked
    at; when the length changes, the frames so far are gone through again.

    Args:
        action_units: How many columns the intensities have.
    """

    def __init__(self, action_units: int) -> None:
        self._timestamps: list[float] = []
        self._intensities: list[Sequence[float]] = []
        self._valid: list[bool] = []
        self._window = 0
        self._first = self._highest = np.full(action_units, np.nan)

    def add(self, timestamp: float, intensities: Sequence[float], valid: bool) -> Floats:
        """Take a frame.

        Args:
            timestamp: Seconds, after the last one.
            intensities: One an action unit.
            valid: Whether the frame counts, as `clip.valid_frames` has it.

        Returns:
            The activation of all frames so far, one an action unit; NaN until a window counts.
        """
        self._timestamps.append(timestamp)
        self._intensities.append(intensities)
        self._valid.append(valid)
        window, newest = window_length(np.array(self._timestamps)), len(self._valid)
        starts = [newest - window] if window == self._window else range(newest - window + 1)
        if window != self._window:
            self._window = window
            self._first = self._highest = np.full_like(self._first, np.nan)
        for start in starts:
            self._look_at(slice(start, start + window))
        return self._highest - self._first

    def _look_at(self, window: slice) -> None:
        if window.start < 0 or not all(self._valid[window]):
            return
        mean = np.mean(self._intensities[window], axis=0)
        self._first = np.where(np.isnan(self._first), mean, self._first)
        self._highest = np.fmax(self._highest, mean)
