"""What options about scorers share."""

from typing import Literal

# Those of the paper.
SCORERS = ("image_reward", "pickscore", "hps_v2")
DEVICE_HELP = "Such as cuda. [default: this process's GPU, else the CPU]"
CHECKPOINTS_HELP = "Local checkpoints of scorers, in the layout of the hub: pickscore=models/pickscore."
Dtype = Literal["float32", "bfloat16", "float16"]
# Not for training and servers: what they compute must not depend on what was measured when they began.
ScoringDtype = Literal["float32", "bfloat16", "float16", "auto"]
