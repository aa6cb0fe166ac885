"""Whose face is the viewer's, where several are in the picture."""

import numpy as np
from numpy.typing import NDArray

from fergi_reward.reactions.clip import Floats

PATIENCE = 1.0  # seconds that a lost face is waited for before another one is taken for the viewer's


class ViewerTracker:
    """Follows one face from frame to frame: the largest at first, then the one that overlaps it most.

    A bystander is not taken for a viewer who looks away for a moment: only after a second without the viewer's face
    the largest one is chosen anew.
    """

    def __init__(self) -> None:
        self._box: Floats | None = None
        self._seen = -np.inf

    def follow(self, boxes: Floats, timestamp: float) -> int | None:
        """The viewer's face in the next frame.

        Args:
            boxes: Left, top, right and bottom edge of each face, (F, 4).
            timestamp: Seconds.

        Returns:
            Its row; None where the viewer is not to be seen.
        """
        if not len(boxes):
            return None
        if self._box is None or timestamp - self._seen > PATIENCE:
            chosen = int(np.argmax(_areas(boxes)))
        else:
            shared = _shared_areas(boxes, self._box)
            chosen = int(np.argmax(shared))
            if shared[chosen] <= 0:
                return None
        self._box, self._seen = boxes[chosen], timestamp
        return chosen


def _areas(boxes: Floats) -> NDArray[np.float64]:
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)


def _shared_areas(boxes: Floats, box: Floats) -> NDArray[np.float64]:
    """Area that each box shares with one other."""
    return _areas(np.hstack([np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])]))
