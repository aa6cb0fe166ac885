"""What can measure action units. Scales differ between sources, so every activation and calibration names its own."""

from fergi_reward.core.errors import FergiRewardError

FERGI = "fergi-ir50"  # the regressor of FERGI's authors: intensities on the 0-5 FACS scale
SIMULATED = "simulated"  # no face at all
# MediaPipe Face Landmarker, two measures of the same landmarks: how near the brows are to the eyes, at most 0, in
# distances between the outer corners of the eyes; and the blendshape browDown, in [0, 1].
MEDIAPIPE_LANDMARKS = "mediapipe-landmarks"
MEDIAPIPE_BLENDSHAPES = "mediapipe-blendshapes"
# MediaPipe measures both in every clip: what each is called where the other one is `au4`.
BOTH_MEASURES = {MEDIAPIPE_LANDMARKS: "au4_landmarks", MEDIAPIPE_BLENDSHAPES: "au4_blendshapes"}
PYFEAT = "pyfeat-v2"  # py-feat's Detectorv2: the probability that the action unit is there, in [0, 1]


def measured_with(source: str) -> tuple[str, ...]:
    """The sources on whose scales a clip of this one can be read.

    >>> measured_with("mediapipe-landmarks"), measured_with("pyfeat-v2")
    (('mediapipe-landmarks', 'mediapipe-blendshapes'), ('pyfeat-v2',))
    """
    return tuple(BOTH_MEASURES) if source in BOTH_MEASURES else (source,)


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
