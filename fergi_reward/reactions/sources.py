"""What can measure action units. Scales differ between sources, so every activation and calibration names its own."""

FERGI = "fergi-ir50"  # the regressor of FERGI's authors: intensities on the 0-5 FACS scale
SIMULATED = "simulated"  # no face at all
MEDIAPIPE = "mediapipe-blendshapes"  # MediaPipe Face Landmarker: the blendshape browDown, in [0, 1]
PYFEAT = "pyfeat-v2"  # py-feat's Detectorv2: the probability that the action unit is there, in [0, 1]
