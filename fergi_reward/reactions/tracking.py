"""Whose face is the viewer's, where several are in the picture."""

import numpy as np
from numpy.typing import NDArray

from fergi_reward.reactions.clip import Floats

# The area that the viewer's face shares with where it was last, over the area of both together: a face moves by less
# from frame to frame, and a viewer who looked away comes back there.
LEAST_OVERLAP = 0.2


class ViewerTracker:
    """Follows one face from frame to frame: the largest of those that are seen first, and no other one.

    Where the viewer is not to be seen nobody is: a bystander's face says nothing of the viewer.
    """

    def __init__(self) -> None:
        self._box: Floats | None = None

    def follow(self, boxes: Floats) -> int | None:
        """The viewer's face in the next frame.

        Args:
            boxes: Left, top, right and bottom edge of each face, (F, 4).

        Returns:
            Its row; None where the viewer is not to be seen.
        """
        if not len(boxes):
            return None
        if self._box is None:
            chosen = int(np.argmax(_areas(boxes)))
        else:
            overlaps = _overlaps(boxes, self._box)
            chosen = int(np.argmax(overlaps))
            if overlaps[chosen] < LEAST_OVERLAP:
                return None
        self._box = boxes[chosen]
        return chosen


def _areas(boxes: Floats) -> NDArray[np.float64]:
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)


def _overlaps(boxes: Floats, box: Floats) -> NDArray[np.float64]:
    """The area that each box shares with one other, over the area of both together."""
    shared = _areas(np.hstack([np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])]))
    together = _areas(boxes) + _areas(box[None]) - shared
    return np.divide(shared, together, out=np.zeros_like(shared), where=together > 0)
