"""How far fresh processes come in which time and with which memory: ours, and the originals'."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from official_sizes import PROMPT
from originals import OF_SCORERS, Original
from peak_memory import forget_peak, peak_memory

from fergi_reward.core.errors import FergiRewardError

PROGRAM = Path(__file__).with_name("fresh_process.py")


@dataclass(frozen=True)
class Stage:
    """How far a process had come.

    Attributes:
        done: What was done.
        seconds: Since the process was started.
        peak: The most memory since the stage before, in GB.
        weights: Of the scorers, in GB, where they had just been loaded.
    """

    done: str
    seconds: float
    peak: float
    weights: float | None = None


def stages(*arguments: object) -> list[Stage]:
    """Run `fresh_process.py` to its end.

    Raises:
        FergiRewardError: It failed.
    """
    command = [sys.executable, "-W", "ignore", str(PROGRAM), *map(str, arguments)]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = [Stage(seconds=time.perf_counter() - started, **json.loads(line)) for line in process.stdout]
    if process.returncode:
        raise FergiRewardError(f"{PROGRAM.name} ended with status {process.returncode}: what it said stands above")
    return found


def stages_of_original(name: str, folder: Path, pictures: Sequence[Path]) -> list[Stage]:
    """The original of a scorer loaded, one picture scored, and where there are more, all of them."""
    started = time.perf_counter()
    with Original(OF_SCORERS[name], folder) as theirs:

        def stage(done: str) -> Stage:
            reached = Stage(done, time.perf_counter() - started, peak_memory(theirs.process))
            forget_peak(theirs.process)
            return reached

        found = [stage("load")]
        theirs.score(pictures[:1], PROMPT)
        found.append(stage("first score"))
        if len(pictures) > 1:
            theirs.score(pictures, PROMPT)
            found.append(stage(f"batch {len(pictures)}"))
    return found
