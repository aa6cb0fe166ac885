"""Simulated viewers of the embedded world: they rank five pictures of a caption, and frown at low fidelity.

The pictures are such as models of different quality would draw: some show another object or another colour than the
caption says, some have a fault. All is written in FERGI's own layout, which every reader of FERGI reads, with the
pictures where its raw data has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fergi_reward.data.shown_pictures import SESSION_FILE
from fergi_reward.data.simulated import (
    IMAGES,
    simulate_expressiveness,
    simulate_scores,
    simulate_viewing,
    write_viewers,
)
from fergi_reward.files.atomic import write_json
from fergi_reward.images import to_picture
from fergi_reward.scorers.foreign import LoadedScorer
from fergi_reward.toy.emoji.faults import FAULTS, with_faults
from fergi_reward.toy.emoji.pictures import SEEN, Scene, compose_anywhere, draw_scenes

WRONG_OBJECT, WRONG_COLOUR, FAULTY = 0.15, 0.15, 0.7
# With it the scores alone tell about as many pairs right as on FERGI, 65 %.
PERCEPTION_NOISE = 1.2
BATCH = 128


@dataclass(frozen=True)
class Exhibits:
    """Pictures to be viewed, and what is true of them.

    Attributes:
        pixels: (N, 3, 32, 32) in [0, 1].
        captions: What each was drawn for; those of a session are equal and follow each other.
        alignment: (N,) how well it shows the caption, standardised.
        fidelity: (N,) how faultless it is, standardised.
    """

    pixels: Tensor
    captions: list[str]
    alignment: NDArray[np.float64]
    fidelity: NDArray[np.float64]


def write_emoji_fergi(
    folder: Path, scorers: Sequence[LoadedScorer], *, participants: int = 30, sessions: int = 18, seed: int = 0
) -> None:
    """Write a folder in FERGI's layout, frames included, with a progress bar.

    What they saw is where FERGI's raw data has it; `fergi-reward annotate --images` and `fit-predictor` read it there.

    The columns of the scorers hold what they say of the pictures; those of scorers that this world lacks are simulated.

    Args:
        folder: Where to.
        scorers: Scorers of this world.
        participants: How many viewers.
        sessions: Sessions of five pictures per viewer.
        seed: Two runs with one seed write the same files.

    Raises:
        FergiRewardError: The folder cannot be written.
    """
    rng = np.random.default_rng(seed)
    exhibits = draw_exhibits(participants * sessions, torch.Generator().manual_seed(seed))
    scores = simulate_scores(exhibits.alignment, exhibits.fidelity, rng)
    for scorer in scorers:
        scores[scorer.name] = scorer.score(exhibits.pixels, exhibits.captions, batch_size=BATCH).double().numpy()
    viewers = []
    for first in range(0, participants * sessions, sessions):
        expressiveness = simulate_expressiveness(rng)
        seen = []
        for session in range(first, first + sessions):
            rows = slice(session * IMAGES, (session + 1) * IMAGES)
            truth = exhibits.alignment[rows], exhibits.fidelity[rows]
            of_session = {name: values[rows] for name, values in scores.items()}
            seen.append(simulate_viewing(*truth, of_session, expressiveness, rng, noise=PERCEPTION_NOISE))
        viewers.append(seen)
    write_viewers(folder, viewers, {"participants": participants, "sessions": sessions, "seed": seed}, rng)
    write_pictures(folder, exhibits, sessions)


def write_pictures(folder: Path, exhibits: Exhibits, sessions: int) -> None:
    """Write the pictures and prompts where FERGI's raw data has them."""
    for first in range(0, len(exhibits.captions), IMAGES):
        viewer, session = divmod(first // IMAGES, sessions)
        place = folder / "data" / f"{viewer + 1:03d}" / f"session_{session + 1}"
        write_json(place / SESSION_FILE, {"prompt": exhibits.captions[first]})
        for number, pixels in enumerate(exhibits.pixels[first : first + IMAGES], start=1):
            to_picture(pixels).save(place / f"image{number}.png")


def draw_exhibits(sessions: int, draws: torch.Generator) -> Exhibits:
    """Five pictures of one caption for each session."""
    wanted = [scene for scene in draw_scenes(SEEN, sessions, draws) for _ in range(IMAGES)]
    others = draw_scenes(SEEN, len(wanted), draws)
    object_is_wrong, colour_is_wrong, is_faulty = (
        torch.rand(len(wanted), generator=draws) < share for share in (WRONG_OBJECT, WRONG_COLOUR, FAULTY)
    )
    shown = [
        Scene(other.object if wrong_object else scene.object, other.colour if wrong_colour else scene.colour)
        for scene, other, wrong_object, wrong_colour in zip(
            wanted, others, object_is_wrong.tolist(), colour_is_wrong.tolist(), strict=True
        )
    ]
    strength = torch.rand(len(wanted), generator=draws) * is_faulty
    kinds = torch.randint(len(FAULTS), (len(wanted),), generator=draws)
    missed = torch.tensor(
        [
            float((one.object != other.object) + (one.colour != other.colour))
            for one, other in zip(wanted, shown, strict=True)
        ]
    )
    return Exhibits(
        pixels=with_faults(compose_anywhere(shown, draws), strength, kinds, draws),
        captions=[scene.caption for scene in wanted],
        alignment=_standardized(-missed),
        fidelity=_standardized(-strength),
    )


def _standardized(values: Tensor) -> NDArray[np.float64]:
    return ((values - values.mean()) / values.std()).double().numpy()
