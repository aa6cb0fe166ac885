"""A simulated FERGI: made-up viewers in the real layout, for when the real data are not at hand.

Each image has a true alignment and a true fidelity. Scorers see them with noise of their own. A viewer perceives both
with noise, ranks by what is perceived, and now and then frowns at low fidelity. Everything that reads FERGI reads this.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.data.fergi import ACTION_UNITS, CSV_NAMES, FRAME_COLUMNS, SIMULATED_MARK
from fergi_reward.files.atomic import atomic_path, write_json
from fergi_reward.reactions.clip import LANDMARK_RATIOS, ReactionClip
from fergi_reward.reactions.sources import SIMULATED

Floats = NDArray[np.float64]

IMAGES = 5
FRAMES, FRAMES_PER_SECOND = 75, 30
# What moves each score: alignment, fidelity, noise; then its usual mean and spread.
SCORES = {
    "image_reward": (0.45, 0.15, 1.1, 0.1, 1.05),
    "pickscore": (0.40, 0.40, 1.1, 20.8, 1.15),
    "hps_v2": (0.25, 0.45, 1.2, 0.27, 0.014),
    "clip": (0.40, 0.05, 1.0, 0.30, 0.03),
    "aesthetic": (0.00, 0.40, 1.0, 0.03, 0.002),
    "blip": (0.40, 0.05, 1.0, 0.00, 0.05),
}
PERCEPTION_NOISE = 0.7
# On the 0-5 scale: AU4 moves a little at any image, and rises by a frown, whose probability is 1 / 2 where perceived
# fidelity is this many standard deviations below the mean. These give FERGI's own figures: AU4 alone tells about 57 %
# of the pairs right, and about 75 % of the sixth in which it differs most.
IDLE, FROWN = 0.12, 1.5
FROWN_AT, FROWN_SLOPE = -1.35, 2.5
FACELESS = 0.06  # share of clips in which the viewer looks away


@dataclass(frozen=True)
class ViewedImage:
    """What a viewer and the scorers make of one image.

    Attributes:
        rank: Within its session; higher is preferred.
        au4_rise: How far AU4 rises while it is seen, on the 0-5 scale.
        ratings: `overall_rating`, `alignment_rating` and `fidelity_rating`, 1 to 7.
        scores: By column, one for each of FERGI's.
    """

    rank: int
    au4_rise: float
    ratings: Mapping[str, int]
    scores: Mapping[str, float]


def write_simulated_fergi(folder: Path | str, *, participants: int = 12, sessions: int = 8, seed: int = 0) -> None:
    """Write a folder in FERGI's layout, frames included, with a progress bar.

    Args:
        folder: Where to.
        participants: How many viewers.
        sessions: Sessions of five images per viewer.
        seed: Two runs with one seed write the same files.

    Raises:
        FergiRewardError: The folder cannot be written.
    """
    rng = np.random.default_rng(seed)
    viewers = []
    for _ in range(participants):
        expressiveness = simulate_expressiveness(rng)
        viewers.append([simulate_session(expressiveness, rng) for _ in range(sessions)])
    settings = {"participants": participants, "sessions": sessions, "seed": seed}
    write_viewers(Path(folder), viewers, settings, rng)


def write_viewers(
    folder: Path,
    viewers: Sequence[Sequence[Sequence[ViewedImage]]],
    settings: Mapping[str, int],
    rng: np.random.Generator,
) -> None:
    """Film simulated viewers and write a folder in FERGI's layout, with a progress bar.

    Args:
        folder: Where to.
        viewers: The images of each session of each viewer.
        settings: What made them, for the file that marks the folder as simulated.
        rng: Random numbers of the films.

    Raises:
        FergiRewardError: The folder holds something else, or cannot be written.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / SIMULATED_MARK).exists():
        raise FergiRewardError(f"{folder} holds something else than a simulated FERGI: give an empty folder")
    users = {f"{number:03d}": sessions for number, sessions in enumerate(viewers, start=1)}
    numbers = {user: list(range(1, len(sessions) + 1)) for user, sessions in users.items()}
    write_json(folder / SIMULATED_MARK, {"what": "simulated viewers, no person was recorded", **settings})
    write_json(folder / "preparation" / "valid_sessions.json", numbers)
    write_json(
        folder / "preparation" / "invalid_images.json",
        {user: {str(number): [] for number in listed} for user, listed in numbers.items()},
    )
    for user, sessions in Progress(users.items(), desc="simulating", unit="participant"):
        _write_participant(folder, user, sessions, rng)


def _write_participant(
    folder: Path, user: str, sessions: Sequence[Sequence[ViewedImage]], rng: np.random.Generator
) -> None:
    rows: dict[str, list[dict[str, float]]] = {"image": [], "reaction": [], "baseline": []}
    for session, images in enumerate(sessions, start=1):
        for number, image in enumerate(images, start=1):
            place = {"session_index": session, "image_index": number}
            values = {"rank": image.rank, **image.ratings, **image.scores}
            rows["image"].append(place | {CSV_NAMES[name]: value for name, value in values.items()})
            for kind, rise in (("reaction", image.au4_rise), ("baseline", 0.0)):
                clip = simulate_clip(rise, rng)
                name = f"{kind}_clip_{number}_features.csv"
                _write_csv(folder / "data" / user / f"session_{session}" / name, _frames(clip))
                if clip.is_valid():
                    rows[kind].append(
                        place | {f"{au.upper()}_activation_value": value for au, value in clip.activation().items()}
                    )
    for kind, written in rows.items():
        _write_csv(folder / "preparation" / f"preprocessed_{kind}_data" / f"{user}.csv", pd.DataFrame(written))


def simulate_expressiveness(rng: np.random.Generator) -> float:
    """How strongly a viewer's face shows what the viewer feels; 1 is usual."""
    return rng.lognormal(0.0, 0.4)


def simulate_session(expressiveness: float, rng: np.random.Generator) -> list[ViewedImage]:
    """Five images for one prompt, seen by one viewer and by simulated scorers."""
    alignment, fidelity = rng.standard_normal((2, IMAGES))
    scores = simulate_scores(alignment, fidelity, rng)
    return simulate_viewing(alignment, fidelity, scores, expressiveness, rng)


def simulate_scores(alignment: Floats, fidelity: Floats, rng: np.random.Generator) -> dict[str, Floats]:
    """What scorers see of images with this alignment and fidelity (both standardised, any number of images)."""
    return {
        name: mean
        + spread * (by_alignment * alignment + by_fidelity * fidelity + noise * rng.standard_normal(len(alignment)))
        for name, (by_alignment, by_fidelity, noise, mean, spread) in SCORES.items()
    }


def simulate_viewing(
    alignment: Floats,
    fidelity: Floats,
    scores: Mapping[str, Floats],
    expressiveness: float,
    rng: np.random.Generator,
    *,
    noise: float = PERCEPTION_NOISE,
) -> list[ViewedImage]:
    """One viewer ranks the images of a session and frowns at some.

    Args:
        alignment: (images,), standardised over all images.
        fidelity: (images,), likewise.
        scores: By column, (images,) each.
        expressiveness: How strongly the viewer's face moves.
        rng: Random numbers of what the viewer perceives, and how the face moves.
        noise: Standard deviation of perceived minus true alignment, and of perceived minus true fidelity.
    """
    perceived = np.stack([alignment, fidelity]) + noise * rng.standard_normal((2, len(alignment)))
    perceived /= np.hypot(1, noise)
    overall = perceived.sum(0) / np.sqrt(2)
    ranks = overall.argsort().argsort() + 1
    frowns = rng.random(len(fidelity)) < 1 / (1 + np.exp(FROWN_SLOPE * (perceived[1] - FROWN_AT)))
    rises = rng.exponential(IDLE, len(fidelity)) + frowns * rng.gamma(2, FROWN / 2, len(fidelity))
    names = ("overall_rating", "alignment_rating", "fidelity_rating")
    ratings = np.clip(np.round(4 + 1.3 * np.stack([overall, *perceived])), 1, 7).astype(int)
    return [
        ViewedImage(
            rank=int(ranks[index]),
            au4_rise=float(expressiveness * rises[index]),
            ratings=dict(zip(names, ratings[:, index].tolist(), strict=True)),
            scores={name: float(values[index]) for name, values in scores.items()},
        )
        for index in range(len(fidelity))
    ]


def simulate_clip(au4_rise: float, rng: np.random.Generator) -> ReactionClip:
    """A face of 2.5 seconds: every action unit wanders a little, AU4 rises for about a second."""
    wander = np.cumsum(rng.normal(0.0, 0.01, (FRAMES, len(ACTION_UNITS))), axis=0)
    intensities = rng.uniform(0.0, 0.3, len(ACTION_UNITS)) + wander + rng.normal(0.0, 0.01, wander.shape)
    onset = rng.integers(10, 25)
    bump = np.zeros(FRAMES)
    bump[onset : onset + 40] = np.sin(np.linspace(0, np.pi, 40)) ** 2
    intensities[:, ACTION_UNITS.index("au4")] += au4_rise * bump
    present = np.ones(FRAMES, dtype=bool)
    if rng.random() < FACELESS:
        present[rng.integers(20, 40) :] = False
    confidence, pitch, yaw = (
        np.where(present, rng.normal(*law, FRAMES), absent)
        for law, absent in (((0.96, 0.004), 0.0), ((0.7, 0.01), -1.0), ((0.5, 0.01), -1.0))
    )
    intensities[~present] = -1.0
    timestamps = np.arange(FRAMES) / FRAMES_PER_SECOND
    rounded = (values.round(3) for values in (timestamps, intensities, confidence, pitch, yaw))
    times, faces, confidence, pitch, yaw = rounded
    return ReactionClip(times, faces, ACTION_UNITS, confidence, pitch, yaw, LANDMARK_RATIOS, SIMULATED)


def _frames(clip: ReactionClip) -> pd.DataFrame:
    """The clip in the columns of FERGI's frame files."""
    columns = [clip.timestamps, clip.face_confidence, clip.pitch, clip.yaw, *clip.intensities.T]
    frames = pd.DataFrame(dict(zip(FRAME_COLUMNS, columns, strict=True)))
    frames.insert(0, "frame", np.arange(1, len(frames) + 1))
    return frames


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)
