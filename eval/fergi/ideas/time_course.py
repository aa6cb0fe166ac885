"""Idea 3: of each action unit also the means of the thirds of the clip and the lowest value, less the first one."""

from pathlib import Path

import numpy as np
import pandas as pd
from linear import with_more
from participants import COURSES, Floats, Participants

from fergi_reward.core.progress import Progress
from fergi_reward.data.fergi import clip_files, read_clip
from fergi_reward.data.table import KEY
from fergi_reward.files.csv_numbers import BadRows
from fergi_reward.reactions.clip import ReactionClip, moving_means
from fergi_reward.reactions.sources import FERGI


def time_course(training: Participants, left_out: Participants) -> Floats:
    """Log-odds of the left-out pairs."""
    return with_more(training, lambda images: images[COURSES].to_numpy(dtype=float)).log_odds(left_out)


def with_courses(folder: Path, images: pd.DataFrame) -> pd.DataFrame:
    """The images with a column for each number of the course, read from FERGI's frames."""
    files = [file for file in clip_files(folder, images) if file.kind == "reaction"]
    rows = []
    for file in Progress(files, desc="time courses", unit="clip"):
        clip = read_clip(file, folder, FERGI, BadRows())
        if clip is None:
            raise ValueError(f"{file.path} cannot be read")
        rows.append([file.user, file.session, file.image, *_course(clip)])
    return images.merge(pd.DataFrame(rows, columns=[*KEY, *COURSES]), on=KEY, validate="one_to_one")


def _course(clip: ReactionClip) -> Floats:
    """Early, middle, late and lowest less first of each action unit, (48,); 0 for a third in which no face is seen."""
    means = moving_means(clip.timestamps, clip.intensities, clip.valid_frames())
    seen = np.isfinite(means).all(axis=1)
    means, moments = means[seen], clip.timestamps[seen]
    third = np.minimum(3 * (moments - clip.timestamps[0]) // np.ptp(clip.timestamps), 2)
    parts = [means[third == part].mean(axis=0) if (third == part).any() else means[0] for part in range(3)]
    return np.concatenate([*parts, means.min(axis=0)]) - np.tile(means[0], 4)
