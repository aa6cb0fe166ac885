"""A simulated FERGI: made-up viewers in the real layout, for when the real data are not at hand.

Each image has a true alignment and a true fidelity. Three scorers see them with noise, alignment more than fidelity.
A viewer ranks by both with noise, and frowns at low fidelity. Everything that reads FERGI reads this.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from fergi_reward.fergi import ACTION_UNITS, CSV_NAMES, FRAME_COLUMNS, SIMULATED_MARK
from fergi_reward.files import write_json, written_whole
from fergi_reward.reactions.clip import ReactionClip
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
RANK_NOISE = 0.7
FROWN = 0.35  # mean rise of AU4 at an image of middling fidelity, on the 0-5 scale
FROWN_SLOPE = 0.75
FACELESS = 0.06  # share of clips in which the viewer looks away


@dataclass(frozen=True)
class Image:
    """What is true of one image, and what its viewer and the scorers make of it."""

    fidelity: float
    rank: int
    ratings: dict[str, int]
    scores: dict[str, float]


def write_simulated_fergi(folder: Path, *, participants: int = 12, sessions: int = 8, seed: int = 0) -> None:
    """Write a folder in FERGI's layout, frames included, with a progress bar.

    Args:
        folder: Where to.
        participants: How many viewers.
        sessions: Sessions of five images a viewer.
        seed: Two runs with one seed write the same files.

    Raises:
        FergiRewardError: The folder cannot be written.
    """
    rng = np.random.default_rng(seed)
    users = [f"{number:03d}" for number in range(1, participants + 1)]
    settings = {"participants": participants, "sessions": sessions, "seed": seed}
    write_json(folder / SIMULATED_MARK, {"what": "simulated viewers, no person was recorded"} | settings)
    numbers = list(range(1, sessions + 1))
    write_json(folder / "preparation" / "valid_sessions.json", {user: numbers for user in users})
    write_json(
        folder / "preparation" / "invalid_images.json",
        {user: {str(number): [] for number in numbers} for user in users},
    )
    for user in tqdm(users, desc="simulating", unit="participant"):
        _write_participant(folder, user, numbers, rng)


def _write_participant(folder: Path, user: str, sessions: list[int], rng: np.random.Generator) -> None:
    rows: dict[str, list[dict[str, float]]] = {"image": [], "reaction": [], "baseline": []}
    expressiveness = rng.lognormal(0.0, 0.4)
    for session in sessions:
        for number, image in enumerate(simulate_session(rng), start=1):
            place = {"session_index": session, "image_index": number}
            values = {"rank": image.rank} | image.ratings | image.scores
            rows["image"].append(place | {CSV_NAMES[name]: value for name, value in values.items()})
            frown = rng.exponential(FROWN * expressiveness * np.exp(-FROWN_SLOPE * image.fidelity))
            for kind, strength in (("reaction", frown), ("baseline", 0.0)):
                clip = simulate_clip(strength, rng)
                name = f"{kind}_clip_{number}_features.csv"
                _write_csv(folder / "data" / user / f"session_{session}" / name, _frames(clip))
                if clip.is_valid():
                    rows[kind].append(
                        place | {f"{au.upper()}_activation_value": value for au, value in clip.activation().items()}
                    )
    for kind, written in rows.items():
        _write_csv(folder / "preparation" / f"preprocessed_{kind}_data" / f"{user}.csv", pd.DataFrame(written))


def simulate_session(rng: np.random.Generator) -> list[Image]:
    """Five images for one prompt, ranked by one viewer."""
    alignment, fidelity = rng.standard_normal((2, IMAGES))
    liking = 0.7 * alignment + 0.7 * fidelity + RANK_NOISE * rng.standard_normal(IMAGES)
    ranks = liking.argsort().argsort() + 1
    scores = {
        name: mean + spread * (by_alignment * alignment + by_fidelity * fidelity + noise * rng.standard_normal(IMAGES))
        for name, (by_alignment, by_fidelity, noise, mean, spread) in SCORES.items()
    }
    ratings = {
        f"{name}_rating": np.clip(np.round(4 + 1.3 * value), 1, 7).astype(int)
        for name, value in (("overall", liking), ("alignment", alignment), ("fidelity", fidelity))
    }
    return [
        Image(
            fidelity=float(fidelity[index]),
            rank=int(ranks[index]),
            ratings={name: int(values[index]) for name, values in ratings.items()},
            scores={name: float(values[index]) for name, values in scores.items()},
        )
        for index in range(IMAGES)
    ]


def simulate_clip(frown: float, rng: np.random.Generator) -> ReactionClip:
    """A face of 2.5 seconds: every action unit wanders a little, AU4 rises by `frown` for about a second."""
    wander = np.cumsum(rng.normal(0.0, 0.01, (FRAMES, len(ACTION_UNITS))), axis=0)
    intensities = rng.uniform(0.0, 0.3, len(ACTION_UNITS)) + wander + rng.normal(0.0, 0.01, wander.shape)
    onset = rng.integers(10, 25)
    bump = np.zeros(FRAMES)
    bump[onset : onset + 40] = np.sin(np.linspace(0, np.pi, 40)) ** 2
    intensities[:, ACTION_UNITS.index("au4")] += frown * bump
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
    return ReactionClip(times, faces, ACTION_UNITS, confidence, pitch, yaw, SIMULATED)


def _frames(clip: ReactionClip) -> pd.DataFrame:
    """The clip in the columns of FERGI's frame files."""
    columns = [clip.timestamps, clip.face_confidence, clip.pitch, clip.yaw, *clip.intensities.T]
    frames = pd.DataFrame(dict(zip(FRAME_COLUMNS, columns, strict=True)))
    frames.insert(0, "frame", np.arange(1, len(frames) + 1))
    return frames


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with written_whole(path) as temporary:
        table.to_csv(temporary, index=False)
