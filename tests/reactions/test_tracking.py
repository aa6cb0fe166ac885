import numpy as np
import pytest

from fergi_reward.reactions.tracking import ViewerTracker

VIEWER, MOVED, BYSTANDER = (10, 10, 30, 40), (15, 12, 35, 42), (60, 10, 90, 50)
BEHIND = (25, 10, 35, 25)  # a corner of it is where the viewer's face was


@pytest.mark.parametrize(
    ("frames", "followed"),
    [
        ([[VIEWER]], [0]),
        ([[VIEWER, BYSTANDER]], [1]),  # the largest
        ([[VIEWER], [BYSTANDER, MOVED]], [0, 1]),  # the order changed, and a larger face came in
        ([[VIEWER], [], [BYSTANDER], [MOVED]], [0, None, None, 0]),
        ([[VIEWER], *[[BYSTANDER]] * 100, [BYSTANDER, MOVED]], [0, *[None] * 100, 1]),  # the viewer was away for long
        ([[VIEWER], [BEHIND]], [0, None]),
    ],
)
def test_no_other_face_is_taken_for_the_viewers(frames, followed):
    tracker = ViewerTracker()
    assert [tracker.follow(np.array(boxes, dtype=float)) for boxes in frames] == followed
