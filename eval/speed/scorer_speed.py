"""Seconds of the scorers, of the originals beside them and of the combined reward."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from linear_rate import tower_operations, widest_linear
from measured_rows import Row
from official_sizes import PROMPT, PROMPTS
from originals import OF_SCORERS, Original, is_built
from tqdm import tqdm

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
        dtypes: Of their towers.
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
        """Of the rows that `scorer_rows` gives for a scorer."""
        keys = [f"{kind} {name} {dtype}" for kind in kinds(name) for dtype in self.dtypes]
        keys += [f"scorer {name} original"] if self.times_original(name) else []
        return keys + self.curve_keys(name)

    def combined_keys(self) -> list[str]:
        """Of the rows that `combined_rows` gives."""
        return [f"combined {what}" for what in COMBINED] + self.curve_keys("combined")

    def curve_keys(self, name: str) -> list[str]:
        """Of the rows of a scorer's curves, or the combined reward's."""
        return [f"batch {name} {size}" for size in self.batches] + [f"count {name} {n}" for n in self.counts]


def kinds(name: str) -> list[str]:
    """What is timed of a scorer in each precision; ImageReward's text tower alone reads the image."""
    return ["scorer", FOUR] if name == "image_reward" else ["scorer"]


def scorer_rows(name: str, folder: Path, plan: ScoringPlan, pictures: Sequence[Path]) -> dict[str, Row]:
    """Rows of a scorer: by turns each precision and the original, then the curves.

    Args:
        name: Of the scorer.
        folder: Its checkpoint.
        plan: What to measure.
        pictures: As many as `plan` needs.
    """
    scorers = {dtype: load_scorer(name, folder, dtype=getattr(torch, dtype)) for dtype in plan.dtypes}
    several = pictures[: plan.images]
    layers = {dtype: widest_linear(scorer) for dtype, scorer in scorers.items()}
    tasks: dict[str, Task] = {f"linear {dtype}": timed(work) for dtype, (work, _) in layers.items()}
    for dtype, scorer in scorers.items():
        for kind in kinds(name):
            tasks[f"{kind} {name} {dtype}"] = _scoring(scorer, several, PROMPTS if kind == FOUR else [PROMPT])
    with ExitStack() as running:
        if plan.times_original(name):
            theirs = running.enter_context(_original(name, folder))
            tasks[f"scorer {name} original"] = lambda: theirs.score(several, PROMPT).seconds
        rows = {key: row(plan.images, seconds) for key, seconds in by_turns(tasks, plan.rounds, name).items()}
    for dtype, scorer in scorers.items():
        layer = layers[dtype][1] / (rows.pop(f"linear {dtype}")["s/image"] * plan.images)
        of_it = rows[f"scorer {name} {dtype}"]
        tower = tower_operations(scorer, several[0]) * of_it["images/s"]
        of_it |= {"GFLOP/s": tower / 1e9, "of linear": tower / layer}
    for dtype, moved in _moved(scorers, several).items():
        rows[f"scorer {name} {dtype}"][f"|- {plan.dtypes[0]}|"] = moved
    return rows | _curves(name, scorers[plan.dtypes[-1]], plan, pictures)


def _moved(scorers: Mapping[str, LoadedScorer], pictures: Sequence[Path]) -> dict[str, float]:
    """By precision, how far at most a score lies from that in the first."""
    scores = {dtype: scorer.score(pictures, PROMPT) for dtype, scorer in scorers.items()}
    first = next(iter(scores.values()))
    return {dtype: (of_dtype - first).abs().max().item() for dtype, of_dtype in scores.items()}


def _scoring(
    scorer: LoadedScorer | CombinedReward, pictures: Sequence[Path], prompts: Sequence[str], batch: int = BATCH
) -> Task:
    """Each picture with each of the prompts."""
    repeated = [path for path in pictures for _ in prompts]
    return timed(lambda: scorer.score(repeated, [*prompts] * len(pictures), batch_size=batch))


def _curves(
    name: str, scorer: LoadedScorer | CombinedReward, plan: ScoringPlan, pictures: Sequence[Path]
) -> dict[str, Row]:
    """A call at each batch size, and for each number of pictures."""
    points = {f"batch {name} {size}": (max(plan.batches), size) for size in plan.batches}
    points |= {f"count {name} {count}": (count, BATCH) for count in plan.counts}
    rows = {}
    for key, (images, batch) in tqdm(points.items(), desc=f"{name}, curves", unit="call", leave=False):
        rows[key] = row(images, [_scoring(scorer, pictures[:images], [PROMPT], batch)()])
    return rows


def combined_rows(checkpoints: Mapping[str, Path], plan: ScoringPlan, pictures: Sequence[Path]) -> dict[str, Row]:
    """Rows of the combined reward of scorers, of these one after the other and of decoding alone, then its curves."""
    dtype, several = getattr(torch, plan.dtypes[-1]), pictures[: plan.images]
    scorers = [load_scorer(name, folder, dtype=dtype) for name, folder in checkpoints.items()]
    reward = CombinedReward.from_pretrained(scorers=scorers)
    works: dict[str, Callable[[], object]] = {
        "combined": lambda: reward.score(several, PROMPT),
        "one after the other": lambda: [scorer.score(several, PROMPT) for scorer in scorers],
        "decoding": lambda: [open_picture(picture) for picture in several],
    }
    tasks = {f"combined {what}": timed(works[what]) for what in COMBINED}
    rows = {key: row(plan.images, seconds) for key, seconds in by_turns(tasks, plan.rounds, "combined").items()}
    return rows | _curves("combined", reward, plan, pictures)


def by_turns(tasks: Mapping[str, Task], rounds: int, what: str) -> dict[str, list[float]]:
    """The seconds of each task: of a first call, then of each round."""
    seconds: dict[str, list[float]] = {key: [] for key in tasks}
    with tqdm(total=(rounds + 1) * len(tasks), desc=what, unit="call", leave=False) as progress:
        for _ in range(rounds + 1):
            for key, task in tasks.items():
                seconds[key].append(task())
                progress.update()
    return seconds


def row(images: int, seconds: Sequence[float]) -> Row:
    """A row of calls that took `images` pictures each; the first call counts only where it is the only one."""
    median = statistics.median(seconds[1:] or seconds)
    return {"images": images, "seconds": list(seconds), "s/image": median / images, "images/s": images / median}


def timed(work: Callable[[], object]) -> Task:
    """A task that says how long the work took by the clock."""

    def task() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return task


@contextmanager
def _original(name: str, folder: Path) -> Iterator[Original]:
    """The original with random weights: the checkpoint is hidden from it."""
    with tempfile.TemporaryDirectory() as bare:
        for path in folder.iterdir():
            if path.suffix in (".json", ".txt"):
                (Path(bare) / path.name).symlink_to(path.resolve())
        with Original(OF_SCORERS[name], Path(bare)) as running:
            yield running
