"""How well can a reaction be predicted, and how well does the predictor do it? The emoji world, a toy.

python eval/toy/predicted_reaction.py --seeds 3

Simulated viewers look at pictures whose faults are known. A face follows the fidelity that a viewer perceives, so that
the best possible predictor orders a pair by its true fidelity, and is right half of the time where both are as good:
what it misses is noise of the viewers. Between it and the predictor are two gaps: what embeddings do not show (heads
fitted on the expected valence, without any noise), and what cannot be learnt from noisy faces. Whether a predicted
reaction makes a better model is asked by better_model.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from tabulate import tabulate
from torch import Tensor

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.cli.errors import clean_exit
from fergi_reward.core.progress import Progress
from fergi_reward.data.simulated import IMAGES, simulate_clip, simulate_expressiveness, simulate_viewing
from fergi_reward.faces.face import AU4
from fergi_reward.faces.fitting import STEPS
from fergi_reward.faces.judging import FOLDS, CrossPredicted, cross_predict, held_out_pairs
from fergi_reward.faces.predicted import TOWER
from fergi_reward.faces.viewings import Viewings
from fergi_reward.files.atomic import write_json
from fergi_reward.reactions.clip import valence
from fergi_reward.scorers.base import TowerScorer
from fergi_reward.scorers.foreign import LoadedScorer
from fergi_reward.scorers.image_reward import ImageRewardScorer
from fergi_reward.toy.emoji import CALIBRATION, LABEL, SCORERS, load_scorers
from fergi_reward.toy.emoji.viewers import PERCEPTION_NOISE, Exhibits, draw_exhibits

Floats = NDArray[np.float64]

PATH = click.Path(path_type=Path)
BATCH = 128
# Number of viewers whose mean is taken for the expected valence.
EXPECTED_OF = 100
PICKSCORE, ALL, BEST = "PickScore's embeddings", "all scorers' embeddings", "best possible"
ROWS = (PICKSCORE, ALL, f"{PICKSCORE}, fitted without noise", f"{ALL}, fitted without noise", BEST)


@dataclass(frozen=True)
class Setting:
    """How many viewers see how much, and how far what they perceive is from what is there."""

    title: str
    participants: int = 60
    sessions: int = 30
    noise: float = PERCEPTION_NOISE


SETTINGS = (
    Setting("as `better_model.py`"),
    Setting("as many pictures as FERGI's 2,827", participants=30, sessions=19),
    Setting("half the noise", noise=PERCEPTION_NOISE / 2),
)


@dataclass(frozen=True)
class World:
    """What viewers were shown, what their faces did, and the truth.

    Attributes:
        viewings: Faces, with the embeddings of PickScore.
        embeddings: By name, embeddings of pictures and of prompts, (N, width) each.
        expected: (N,) the valence to be expected of a viewer.
        fidelity: (N,) what the faces follow.
    """

    viewings: Viewings
    embeddings: Mapping[str, tuple[Tensor, Tensor]]
    expected: Tensor
    fidelity: Floats


@click.command()
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Seeds 1, 2, ... of viewers.")
@click.option("--out", type=PATH, default=Path("runs/predicted_reaction"), show_default=True, help="For results.json.")
def main(seeds: int, out: Path) -> None:
    """Simulate, predict across viewers and prompts, print and write a table."""
    results = {setting.title: [accuracies(setting, seed) for seed in range(1, seeds + 1)] for setting in SETTINGS}
    write_json(out / "results.json", {"what": f"a {LABEL}", "seeds": seeds, "pairs in the order of the faces": results})
    click.echo(table(results))


def accuracies(setting: Setting, seed: int) -> dict[str, float]:
    """Pairs in the order of the faces, by what orders them; the viewers of seed 0 are those of the calibration."""
    world, found = simulate(setting, seed), dict[str, float]()
    noiseless = replace(world.viewings, valences=world.expected)
    with Progress(total=2 * len(world.embeddings) * FOLDS * STEPS, desc=setting.title, unit="step") as bar:
        for name, (images, texts) in world.embeddings.items():
            by_faces, by_truth = (
                cross_predict(replace(viewings, images=images, texts=texts), 0, bar)
                for viewings in (world.viewings, noiseless)
            )
            found[name] = accuracy(by_faces)
            # Both have held the same rows out, in the same order.
            found[f"{name}, fitted without noise"] = accuracy(replace(by_truth, observed=by_faces.observed))
    return found | {BEST: accuracy(ordered_by(world.fidelity, world.viewings))}


def accuracy(predicted: CrossPredicted) -> float:
    """The share of the pairs whose faces differ that are in their order; pairs that are predicted alike count half."""
    return float(((1 + np.sign(held_out_pairs(predicted).margins)) / 2).mean())


def ordered_by(values: Floats, viewings: Viewings) -> CrossPredicted:
    """A prediction of all rows that was not fitted."""
    observed = viewings.valences.double().numpy()
    nothing = np.zeros(len(values))
    return CrossPredicted(values, nothing, observed, viewings.users, viewings.sessions, nothing.astype(np.int64))


def simulate(setting: Setting, seed: int) -> World:
    """Show pictures with faults to viewers, and film them; a film without a face counts for nothing."""
    rng, count = np.random.default_rng(seed), setting.participants * setting.sessions
    exhibits = draw_exhibits(count, torch.Generator().manual_seed(seed))
    decay = Calibration.load(CALIBRATION).fit_for([*SCORERS, AU4]).decay or 0.0
    faces, was_seen = film(exhibits, setting, rng)
    seen, sessions = np.flatnonzero(was_seen), np.arange(len(faces)) // IMAGES
    embeddings = embedded(exhibits.pixels[seen], [exhibits.captions[row] for row in seen])
    viewings = Viewings(
        *embeddings[PICKSCORE],
        torch.from_numpy(valence(faces[seen], decay)).float(),
        np.array([f"{session // setting.sessions:03d}" for session in sessions[seen]]),
        sessions[seen],
        np.array(exhibits.captions)[seen],
    )
    expected = expected_valence(exhibits.fidelity[seen], setting.noise, decay, rng)
    return World(viewings, embeddings, torch.from_numpy(expected).float(), exhibits.fidelity[seen])


def film(exhibits: Exhibits, setting: Setting, rng: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
    """The activation of AU4 at each picture, and whether the clip is valid."""
    clips = []
    for first in range(0, len(exhibits.captions), IMAGES):
        if first % (IMAGES * setting.sessions) == 0:
            expressiveness = simulate_expressiveness(rng)
        alignment, fidelity = (values[first : first + IMAGES] for values in (exhibits.alignment, exhibits.fidelity))
        for viewed in simulate_viewing(alignment, fidelity, {}, expressiveness, rng, noise=setting.noise):
            clips.append(simulate_clip(viewed.au4_rise, rng))
    valid = np.array([clip.is_valid() for clip in clips])
    faces = [clip.activation()[AU4] if is_valid else np.nan for clip, is_valid in zip(clips, valid, strict=True)]
    return np.array(faces), valid


def expected_valence(fidelity: Floats, noise: float, decay: float, rng: np.random.Generator) -> Floats:
    """The mean valence over many viewers of each picture."""
    total = np.zeros(len(fidelity))
    for _ in range(EXPECTED_OF):
        viewed = simulate_viewing(fidelity, fidelity, {}, simulate_expressiveness(rng), rng, noise=noise)
        total += valence(np.array([one.au4_rise for one in viewed]), decay)
    return total / EXPECTED_OF


@torch.no_grad()
def embedded(pixels: Tensor, captions: Sequence[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Embeddings of pictures and prompts: of PickScore, and of all scorers next to each other."""
    parts: dict[str, tuple[Tensor, Tensor]] = {}
    for scorer in load_scorers():
        chunks = [
            states(scorer, pixels[start : start + BATCH], captions[start : start + BATCH])
            for start in range(0, len(captions), BATCH)
        ]
        images, texts = (torch.cat(chunk) for chunk in zip(*chunks, strict=True))
        parts[scorer.name] = scaled(images), scaled(texts)
    images, texts = (torch.cat(chunk, dim=1) for chunk in zip(*parts.values(), strict=True))
    return {PICKSCORE: parts[TOWER], ALL: (images, texts)}


def states(scorer: LoadedScorer, pixels: Tensor, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
    """What a scorer makes of pictures and prompts; ImageReward reads both at once: one state stands for both."""
    assert isinstance(scorer, TowerScorer)
    images, texts = scorer.features(pixels, captions)
    if not isinstance(scorer, ImageRewardScorer):
        return images, texts
    tokens, counted = texts.unbind(dim=1)
    state = scorer.text_encoder(tokens, counted.bool(), images)[:, 0]
    return state, state


def scaled(embeddings: Tensor) -> Tensor:
    """With a mean square distance of 1 from their mean, so that no scorer outweighs another."""
    apart = embeddings - embeddings.mean(dim=0)
    return apart / apart.square().sum(dim=1).mean().sqrt()


def table(results: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """A row for what orders the pairs, a column for each setting: mean and range over the seeds, in %."""
    rows = [[name, *(spread([of[name] for of in found]) for found in results.values())] for name in ROWS]
    return tabulate(rows, [f"a {LABEL}: pairs in the order of the faces (%)", *results], tablefmt="github")


def spread(shares: Sequence[float]) -> str:
    """The mean and the range, in %.

    >>> spread([0.5, 0.6])
    '55.0 (50.0 to 60.0)'
    """
    mean = sum(shares) / len(shares)
    return f"{100 * mean:.1f} ({100 * min(shares):.1f} to {100 * max(shares):.1f})"


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
