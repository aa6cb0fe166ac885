"""Idea 9: CLIP, aesthetic and BLIP scores as well, as FERGI holds them."""

import numpy as np
import pandas as pd
from linear import fit_linear, present, present_penalties
from participants import Floats, Participants


def more_scorers(training: Participants, left_out: Participants) -> Floats:
    """Log-odds of the left-out pairs."""
    return fit_linear(training, six, present_penalties(scorers=6)).log_odds(left_out)


def six(images: pd.DataFrame) -> Floats:
    """Six scores and the face, (rows, 30)."""
    return np.concatenate([images[["clip", "aesthetic", "blip"]].to_numpy(dtype=float), present(images)], axis=1)
