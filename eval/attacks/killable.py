"""Commands in processes of their own, forked from one that has imported what takes seconds."""

import os
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

IMPORTED = [
    "fergi_reward.bulk.best_of",
    "fergi_reward.bulk.run",
    "fergi_reward.evaluation.compare_models",
    "fergi_reward.reactions.extract",
    "fergi_reward.trainers.program",
    "fergi_reward.scorers.image_reward",
    "fergi_reward.scorers.pickscore",
    "av",
    "pyarrow.parquet",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "transformers.models.clip.tokenization_clip",
    "peft",
]
# What both outputs of the commands in a folder go to.
LOG = "log"


def started(run: Callable[[list[str]], None], words: Sequence[str], folder: Path) -> ForkServerProcess:
    """A process that calls `run` with the words of a command, in a folder."""
    forks = get_context("forkserver")
    forks.set_forkserver_preload(IMPORTED)
    process = forks.Process(target=_child, args=(run, list(words), str(folder)))
    process.start()
    return process


def finished(process: ForkServerProcess, folder: Path) -> None:
    """Wait for a command that must end well."""
    process.join()
    if process.exitcode:
        raise SystemExit(f"status {process.exitcode}: {told(folder)}")


def told(folder: Path) -> str:
    """The end of what the commands in a folder said."""
    return (folder / LOG).read_text()[-2000:]


def _child(run: Callable[[list[str]], None], words: list[str], folder: str) -> None:
    os.chdir(folder)
    for descriptor in (1, 2):
        os.dup2(os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    run(words)
