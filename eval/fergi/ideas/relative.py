"""Idea 7: each activation over the person's own mean of that action unit; ranks are not looked at."""

import pandas as pd
from linear import fit_linear, present, present_penalties
from participants import Floats, Participants

from fergi_reward.data.fergi import ACTION_UNITS

STILL = 0.1  # a face that never moves has a mean of 0


def relative(training: Participants, left_out: Participants) -> Floats:
    """Log-odds of the left-out pairs."""
    units = list(ACTION_UNITS)
    usual = training.images[units].mean() + STILL

    def features(images: pd.DataFrame) -> Floats:
        own = images.groupby("user")[units].transform("mean") + STILL
        return present(images.assign(**images[units] / own * usual))

    return fit_linear(training, features, present_penalties()).log_odds(left_out)
