"""Idea 2: products of the valences with the standardised scores, with a penalty of their own."""

import numpy as np
import pandas as pd
from linear import with_more
from participants import Floats, Participants, face, scores


def interactions(training: Participants, left_out: Participants) -> Floats:
    """Log-odds of the left-out pairs."""
    of_training = scores(training.images)
    mean, std = of_training.mean(axis=0), of_training.std(axis=0)

    def products(images: pd.DataFrame) -> Floats:
        standardised, valences = (scores(images) - mean) / std, face(images, (0.4,))
        return np.concatenate([valences * score[:, None] for score in standardised.T], axis=1)

    return with_more(training, products).log_odds(left_out)
