import numpy as np
import pytest

from fergi_reward.reactions.tracking import ViewerTracker

VIEWER, MOVED, BYSTANDER = (10, 10, 30, 40), (15, 12, 35, 42), (60, 10, 90, 50)


@pytest.mark.parametrize(
    ("frames", "followed"),
    [
        ([(0.0, [VIEWER])], [0]),
        ([(0.0, [VIEWER, BYSTANDER])], [1]),  # the largest
        ([(0.0, [VIEWER]), (0.1, [BYSTANDER, MOVED])], [0, 1]),  # the order changed, and a larger face came in
        ([(0.0, [VIEWER]), (0.1, []), (0.2, [BYSTANDER]), (0.3, [MOVED])], [0, None, None, 0]),
        ([(0.0, [VIEWER]), (1.0, [BYSTANDER]), (1.1, [BYSTANDER])], [0, None, 0]),  # gone for more than a second
    ],
)
def test_whose_face_is_followed(frames, followed):
    tracker = ViewerTracker()
    assert [tracker.follow(np.array(boxes, dtype=float), time) for time, boxes in frames] == followed
