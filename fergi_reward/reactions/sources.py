"""What can measure action units. Scales differ between sources, so every activation and calibration names its own."""

from fergi_reward.core.errors import FergiRewardError

FERGI = "fergi-ir50"  # the regressor of FERGI's authors: intensities on the 0-5 FACS scale
SIMULATED = "simulated"  # no face at all
# MediaPipe Face Landmarker, two measures of the same landmarks: how near the brows are to the eyes, at most 0, in
# distances between the outer corners of the eyes; and the blendshape browDown, in [0, 1].
MEDIAPIPE_LANDMARKS = "mediapipe-landmarks"
MEDIAPIPE_BLENDSHAPES = "mediapipe-blendshapes"
PYFEAT = "pyfeat-v2"  # py-feat's Detectorv2: the probability that the action unit is there, in [0, 1]


def check_source(asked_by: str, wanted: str, what: str, source: str | None) -> None:
    """Check that reactions are on the scale that is wanted.

    Args:
        asked_by: Who wants it, for the message.
        wanted: The source of that scale.
        what: Whose reactions, for the message.
        source: What measured them.

    Raises:
        FergiRewardError: They are not.
    """
    if source != wanted:
        raise FergiRewardError(
            f"{asked_by} AU source {wanted!r}, got {what} from {source!r}, and scales differ: calibrate on reactions "
            f"from {source!r}, or map them with `fergi-reward map-source`"
        )
