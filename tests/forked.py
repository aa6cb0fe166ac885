"""Python programs in processes of their own, which begin with what takes seconds to import imported already.

They are forked from a process that imported it once and did nothing else, so each is as new as one that `python` or
`torchrun` starts. A test of how users start processes starts them in their way instead.
"""

import os
import runpy
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection, get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path
from tempfile import mkdtemp
from weakref import finalize

IMPORTED = [
    "fergi_reward.cli.app",
    "fergi_reward.bulk.best_of",
    "fergi_reward.bulk.job",
    "fergi_reward.toy.emoji",
    "fergi_reward.trainers.program",
    "fergi_reward.trainers.flow_grpo",
    "fergi_reward.trainers.reward_backprop",
    "fergi_reward.trainers.diffusion_dpo",
    "fergi_reward.scorers.image_reward",
    "fergi_reward.scorers.pickscore",
    "fergi_reward.scorers.hps",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3",
    "transformers.models.clip.tokenization_clip",
    "peft",
    "open_clip",
    "timm.models.vision_transformer",
    "tensorboard.summary.writer.event_file_writer",
]
SECONDS_BETWEEN_ENDS = 20


class Forked:
    """The processes of one command.

    Args:
        command: What follows `python`: `["-m", MODULE, ...]` or `[SCRIPT, ...]`.
        processes: How many; two and more find each other, as under `torchrun`.
        cwd: Their folder; this one if None.
        environment: What is set in addition to the variables of this process.
    """

    def __init__(
        self,
        command: Sequence[str],
        processes: int = 1,
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._logs = Path(mkdtemp())
        finalize(self, shutil.rmtree, self._logs)
        for name in ("stdout", "stderr"):
            (self._logs / name).touch()
        variables = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1", **(environment or {})}
        everywhere = [str(part) for part in command], str(cwd or Path.cwd()), str(self._logs)
        self.processes = [
            context().Process(target=_run, args=(*everywhere, variables | place), daemon=True)
            for place in _places(processes)
        ]
        for process in self.processes:
            process.start()

    def poll(self) -> int | None:
        """The status of the first process, None while it runs."""
        return self.processes[0].exitcode

    def kill(self) -> None:
        """End all processes by SIGKILL."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()

    def kill_once(self, begun: Callable[[], object]) -> None:
        """Kill all as soon as `begun` gives something true, or the first process has ended."""
        while not begun() and self.poll() is None:
            time.sleep(0.01)
        self.kill()

    def wait(self) -> int:
        """Wait for all, not long for others once one has failed; the highest status."""
        running = {process.sentinel: process for process in self.processes}
        while running:
            failed = any(process.exitcode for process in self.processes)
            ended = connection.wait(list(running), SECONDS_BETWEEN_ENDS if failed else None)
            if not ended:  # it waits for one that is no more
                self.kill()
                break
            for sentinel in ended:
                running.pop(sentinel).join()
        return max((process.exitcode or 0 for process in self.processes), key=abs)

    @property
    def stdout(self) -> str:
        """What all wrote to their standard output so far."""
        return (self._logs / "stdout").read_text()

    @property
    def stderr(self) -> str:
        """What all wrote to their standard error so far."""
        return (self._logs / "stderr").read_text()


def context() -> ForkServerContext:
    """What forks processes; the first one waits for the imports."""
    forks = get_context("forkserver")
    forks.set_forkserver_preload(IMPORTED)
    return forks


def _places(processes: int) -> list[dict[str, str]]:
    """The variables by which each process of several knows its place, as `torchrun` sets them."""
    if processes == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
    common |= {"LOCAL_WORLD_SIZE": str(processes)}
    return [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def _run(command: list[str], cwd: str, logs: str, variables: dict[str, str]) -> None:
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(Path(logs, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    import torch  # has read the variables of the process that imported it

    torch.set_num_threads(int(variables["OMP_NUM_THREADS"]))
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        sys.path.insert(0, str(Path(command[0]).parent))
        runpy.run_path(command[0], run_name="__main__")
