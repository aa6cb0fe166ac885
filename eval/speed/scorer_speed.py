"""Seconds of the scorers, of the originals next to them and of the combined reward."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from linear_rate import tower_operations, widest_linear
from measure import Row, by_turns, image_row, timed
from official_sizes import PROMPT, PROMPTS, Checkpoints
from originals import OF_SCORERS, Original, is_built

from fergi_reward.images import open_picture
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.foreign import LoadedScorer
from fergi_reward.scorers.registry import load_scorer

BATCH = 8
FOUR = "four-prompts"
COMBINED = ("combined", "one after the other", "decoding")
Task = Callable[[], float]  # its seconds


@dataclass(frozen=True)
class ScoringPlan:
    """What to measure of scorers.

    Attributes:
        dtypes: Data types of their towers.
        originals: Whether those originals are timed whose environments are built.
        rounds: After the first call.
        images: Pictures of a call.
        batches: Batch sizes in which as many pictures are scored as the largest has, in the last of `dtypes`.
        counts: How many pictures are scored in batches of 8, likewise.
    """

    dtypes: Sequence[str]
    originals: bool
    rounds: int
    images: int
    batches: Sequence[int]
    counts: Sequence[int]

    @property
    def pictures(self) -> int:
        """How many it needs."""
        return max(self.images, *self.batches, *self.counts)

    def times_original(self, name: str) -> bool:
        """Whether a scorer's original is timed."""
        return self.originals and is_built(OF_SCORERS[name])

    def keys(self, name: str) -> list[str]:
        """The keys of the rows that `scorer_rows` gives for a scorer."""
        keys = [f"{kind} {name} {dtype}" for kind in kinds(name) for dtype in self.dtypes]
        return [*keys, *[f"scorer {name} original"] * self.times_original(name), *self.curves(name)]

    def combined_keys(self) -> list[str]:
        """The keys of the rows that `combined_rows` gives."""
        return [*(f"combined {what}" for what in COMBINED), *self.curves("combined")]

    def curves(self, name: str) -> dict[str, tuple[int, int]]:
        """By key, the pictures and the batch size of each call of the curves of a scorer, or the combined reward."""
        points = {f"batch {name} {size}": (max(self.batches), size) for size in self.batches}
        return points | {f"count {name} {count}": (count, BATCH) for count in self.counts}


def kinds(name: str) -> list[str]:
    """What is timed of a scorer in each precision; ImageReward's text tower alone reads the image."""
    return ["scorer", FOUR] if name == "image_reward" else ["scorer"]


def scorer_rows(name: str, checkpoints: Checkpoints, plan: ScoringPlan, pictures: Sequence[Path]) -> dict[str, Row]:
    """Rows of a scorer: by turns each precision and the original, then the curves.

    Args:
        name: Name of the scorer.
        checkpoints: Checkpoints of all scorers.
        plan: What to measure.
        pictures: As many as `plan` needs.
    """
    folder, several = checkpoints[name], pictures[: plan.images]
    scorers = {dtype: load_scorer(name, folder, dtype=getattr(torch, dtype)) for dtype in plan.dtypes}
    layers = {dtype: widest_linear(scorer) for dtype, scorer in scorers.items()}
    tasks: dict[str, Task] = {f"linear {dtype}": timed(work) for dtype, (work, _) in layers.items()}
    for dtype, scorer in scorers.items():
        for kind in kinds(name):
            tasks[f"{kind} {name} {dtype}"] = _scoring(scorer, several, PROMPTS if kind == FOUR else [PROMPT])
    with ExitStack() as running:
        if plan.times_original(name):
            theirs = running.enter_context(_original(name, folder))
            tasks[f"scorer {name} original"] = lambda: theirs.score(several, PROMPT).seconds
        seconds = by_turns(tasks, plan.rounds + 1, name)
    rows = {key: image_row(plan.images, each) for key, each in seconds.items()}
    scores = {dtype: scorer.score(several, PROMPT) for dtype, scorer in scorers.items()}
    for dtype, scorer in scorers.items():
        layer = layers[dtype][1] / (rows.pop(f"linear {dtype}")["s/image"] * plan.images)
        of_it = rows[f"scorer {name} {dtype}"]
        tower = tower_operations(scorer, several[0]) * of_it["images/s"]
        moved = (scores[dtype] - scores[plan.dtypes[0]]).abs().max().item()
        of_it |= {"GFLOP/s": tower / 1e9, "of linear": tower / layer, f"|- {plan.dtypes[0]}|": moved}
    return rows | _curve_rows(name, scorers[plan.dtypes[-1]], plan, pictures)


def combined_rows(
    names: Sequence[str], checkpoints: Checkpoints, plan: ScoringPlan, pictures: Sequence[Path]
) -> dict[str, Row]:
    """Rows of the combined reward of scorers, of these one after the other and of decoding alone, then its curves."""
    dtype, several = getattr(torch, plan.dtypes[-1]), pictures[: plan.images]
    scorers = [load_scorer(name, checkpoints[name], dtype=dtype) for name in names]
    reward = CombinedReward.from_pretrained(scorers=scorers)
    works: dict[str, Callable[[], object]] = {
        "combined": lambda: reward.score(several, PROMPT),
        "one after the other": lambda: [scorer.score(several, PROMPT) for scorer in scorers],
        "decoding": lambda: [open_picture(picture) for picture in several],
    }
    seconds = by_turns({f"combined {what}": timed(works[what]) for what in COMBINED}, plan.rounds + 1, "combined")
    rows = {key: image_row(plan.images, each) for key, each in seconds.items()}
    return rows | _curve_rows("combined", reward, plan, pictures)


def _scoring(
    scorer: LoadedScorer | CombinedReward, pictures: Sequence[Path], prompts: Sequence[str], batch: int = BATCH
) -> Task:
    """Each picture with each of the prompts."""
    repeated = [path for path in pictures for _ in prompts]
    return timed(lambda: scorer.score(repeated, [*prompts] * len(pictures), batch_size=batch))


def _curve_rows(
    name: str, scorer: LoadedScorer | CombinedReward, plan: ScoringPlan, pictures: Sequence[Path]
) -> dict[str, Row]:
    """A call at each batch size, and for each number of pictures."""
    points = plan.curves(name)
    tasks = {key: _scoring(scorer, pictures[:images], [PROMPT], batch) for key, (images, batch) in points.items()}
    return {key: image_row(points[key][0], each) for key, each in by_turns(tasks, 1, f"{name}, curves").items()}


@contextmanager
def _original(name: str, folder: Path) -> Iterator[Original]:
    """The original with random weights: the checkpoint is hidden from it."""
    with tempfile.TemporaryDirectory() as bare:
        for path in folder.iterdir():
            if path.suffix in (".json", ".txt"):
                (Path(bare) / path.name).symlink_to(path.resolve())
        with Original(OF_SCORERS[name], Path(bare)) as running:
            yield running
