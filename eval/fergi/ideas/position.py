"""Idea 8: the place of the image in the session: linear, the first one, and its products with the valences."""

import numpy as np
import pandas as pd
from linear import with_more
from participants import Floats, Participants, face


def position(training: Participants, left_out: Participants) -> Floats:
    """Log-odds of the left-out pairs."""
    return with_more(training, places).log_odds(left_out)


def places(images: pd.DataFrame) -> Floats:
    """What is weighed of the place, (rows, 14)."""
    place = images["image"].to_numpy(dtype=float)[:, None]
    return np.concatenate([place, place == 1, (place - 3) * face(images, (0.4,))], axis=1)
