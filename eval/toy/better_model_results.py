"""What `better_model.py` finds: one line of JSON per task, merged from the files of several machines."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import write_text
from fergi_reward.files.json_files import parse_json
from fergi_reward.files.text_lines import read_lines

METHODS = ("ddpo", "flow_grpo", "nft", "draft", "diffusion_dpo")
REWARDS = ("one", "equal", "calibrated", "predicted")
HELD_OUT_CAPTIONS = 32

Numbers = Sequence[Sequence[float]]


@dataclass(frozen=True, order=True)
class Task:
    """One fine-tuning: a method, what weighs its reward, and a seed."""

    method: str
    reward: str
    seed: int

    def __post_init__(self) -> None:
        if self.method not in METHODS or self.reward not in REWARDS or not isinstance(self.seed, int):
            raise ValueError(f"there is no task {self}")


@dataclass(frozen=True)
class Budget:
    """What every task may take: results of two budgets are not compared.

    Attributes:
        pictures: Pictures drawn and scored for training.
        noises: Pictures that the judge sees of each held-out caption, before and after.
        participants: Viewers that the reaction predictor is fitted on.
        sessions: Five pictures that each of them sees.
    """

    pictures: int = 1536
    noises: int = 8
    participants: int = 60
    sessions: int = 30


@dataclass(frozen=True)
class Judged:
    """What is said of pictures of the held-out captions.

    Attributes:
        psnr: By caption and noise, how near the nearest real picture is, in dB.
        right: By caption and noise, 1 where object and colour are those of the caption, else 0.
        reward: Mean of the reward that the task follows.
    """

    psnr: Numbers
    right: Numbers
    reward: float


@dataclass(frozen=True)
class Result:
    """A finished task: the same captions and noises before and after it."""

    task: Task
    budget: Budget
    machine: str
    seconds: float
    before: Judged
    after: Judged

    def __str__(self) -> str:
        task, (before, after) = self.task, (mean(self.before.psnr), mean(self.after.psnr))
        return f"{task.method}, {task.reward}, seed {task.seed}: {before:.2f} to {after:.2f} dB, {self.seconds:.0f} s"

    def check(self) -> None:
        """Refuse numbers that no judge gave.

        Raises:
            ValueError: A number is missing or not finite.
        """
        for numbers in (self.before.psnr, self.before.right, self.after.psnr, self.after.right):
            rows = [list(map(float, row)) for row in numbers]
            if [len(row) for row in rows] != [self.budget.noises] * HELD_OUT_CAPTIONS:
                raise ValueError(f"it must hold {self.budget.noises} numbers for each of {HELD_OUT_CAPTIONS} captions")
            if not all(math.isfinite(number) for row in rows for number in row):
                raise ValueError("a number is not finite")
        if not {right for judged in (self.before, self.after) for row in judged.right for right in row} <= {0, 1}:
            raise ValueError("whether a picture is right must be 0 or 1")


def mean(numbers: Numbers) -> float:
    """Over captions and noises."""
    return fmean(number for row in numbers for number in row)


def all_tasks(methods: Iterable[str], rewards: Iterable[str], seeds: int) -> list[Task]:
    """By reward, so that those which wait for the predictor come last."""
    return [Task(method, reward, seed) for reward, seed, method in product(rewards, range(seeds), methods)]


def read_results(paths: Iterable[Path], budget: Budget | None = None) -> dict[Task, Result]:
    """The results in several files; of a task that is in two, the first.

    Args:
        paths: Files of `write_results`.
        budget: What all must have been made with; None: that of the first.

    Raises:
        FergiRewardError: A line is no result, or of another budget.
    """
    found: dict[Task, Result] = {}
    for path in paths:
        for number, line in read_lines(path):
            try:
                result = _result(parse_json(line))
            except (ValueError, TypeError, KeyError) as error:
                raise FergiRewardError(f"{path}, line {number} is no result of better_model.py ({error})") from error
            budget = budget or result.budget
            if result.budget != budget:
                raise FergiRewardError(
                    f"{path}, line {number} was made with {result.budget}, not {budget}: give another --out, or "
                    "results of one budget"
                )
            found.setdefault(result.task, result)
    return found


def write_results(path: Path, results: Mapping[Task, Result]) -> None:
    """Write all results, whole or not at all."""
    lines = [json.dumps(asdict(results[task]), allow_nan=False) for task in sorted(results)]
    write_text(path, "\n".join(lines) + "\n")


def _result(record: Mapping[str, Any]) -> Result:
    kinds = {"task": Task, "budget": Budget, "before": Judged, "after": Judged}
    parts = {name: kind(**record[name]) for name, kind in kinds.items()}
    if set(record) != {field.name for field in fields(Result)}:
        raise ValueError(f"its keys are {', '.join(record)}")
    result = Result(**{**record, **parts})
    result.check()
    return result
