"""Workers that are actors on a Ray cluster, on this machine or on others; the server itself stays one process."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from fergi_reward.core.errors import FergiRewardError, MissingDependencyError, TemporaryError
from fergi_reward.core.ray_cluster import ray_cluster
from fergi_reward.reward import CombinedReward
from fergi_reward.serve.options import ServeOptions
from fergi_reward.serve.protocols.asked import Body
from fergi_reward.serve.scoring import WHOLE_REQUEST, Left, NoWorkerError, Row, Scoring
from fergi_reward.serve.workers import THREADS, Known, Setting, WorkerPool


@contextmanager
def started_on_ray(options: ServeOptions, load: Callable[[int], CombinedReward]) -> Iterator[WorkerPool]:
    """Workers on the cluster of RAY_ADDRESS, else on one of this machine.

    Args:
        options: How many, and their limits.
        load: Loads the reward of the worker with a number.

    Raises:
        FergiRewardError: There is no Ray, it cannot be joined, or it has no room for so many.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError("ray", "--engine ray", "ray") from error
    with ray_cluster():
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if options.device in (None, "cuda") else 0
        room = gpus or int(resources.get("CPU", 0))
        count = max(1, gpus) if options.workers == "auto" else options.workers
        if count > room:
            raise FergiRewardError(
                f"--workers is {count}, and the Ray cluster has {room} {'GPUs' if gpus else 'CPUs'}: start fewer"
            )
        threads = min(torch.get_num_threads(), max(1, room // count))
        uses_gpu = gpus > 0
        yield WorkerPool(
            lambda number: RayWorker(Setting(load, number, options, threads), uses_gpu), count, options.time_limit
        )


class RayWorker:
    """A worker that is an actor, on a GPU or not; what its methods are is in `Worker`."""

    def __init__(self, setting: Setting, uses_gpu: bool) -> None:
        import ray

        # Two threads of the actor are those of `wait` and `_leave`.
        asked = ray.remote(_Actor).options(
            num_cpus=0 if uses_gpu else setting.threads,
            num_gpus=int(uses_gpu),
            max_concurrency=THREADS + 2,
            max_restarts=0,
        )
        self._actor: Any = asked.remote(setting, Path.cwd())
        self._numbers = itertools.count()

    def load(self) -> Known:
        """What its reward is."""
        import ray

        try:
            known: Known | str = ray.get(self._actor.load.remote())
        except ray.exceptions.RayError as error:
            kind = FergiRewardError if isinstance(error, ray.exceptions.RayTaskError) else TemporaryError
            raise kind(f"Ray says: {_last_line(error)}") from error
        if isinstance(known, str):
            raise FergiRewardError(known)
        return known

    def score(self, body: Body, left: Left) -> list[Row]:
        """The rows of a request."""
        import ray

        number = next(self._numbers)
        asked = self._actor.score.remote(number, body)
        left.add_done_callback(lambda _: self._actor.leave.remote(number))
        try:
            scored: list[Row] | FergiRewardError = ray.get(asked)
        except (ray.exceptions.RayActorError, ray.exceptions.RaySystemError) as error:
            raise NoWorkerError("the worker that had this request died before it answered: ask again") from error
        if isinstance(scored, FergiRewardError):
            raise scored
        return scored

    def wait(self, on_batch: Callable[[int], None]) -> str:
        """How it ended."""
        import ray

        try:
            while True:
                for images in ray.get(self._actor.batches.remote()):
                    on_batch(images)
        except ray.exceptions.RayError as error:
            return f"died ({type(error).__name__}; Ray's logs say more)"

    def stop(self) -> None:
        """End it at once."""
        import ray

        ray.kill(self._actor)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


class _Actor:
    """What Ray runs: mistakes are answers, since Ray would show an error with its traceback."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        self._setting, self._folder = setting, folder
        self._scoring: Scoring | None = None
        self._finished, self._waiting = SimpleQueue[int](), dict[int, Left]()

    def load(self) -> Known | str:
        try:
            os.chdir(self._folder)
            self._scoring, known = self._setting.begin(self._finished.put)
        except OSError as error:
            return f"it cannot enter {self._folder} ({error}): every node needs the same folder"
        except FergiRewardError as error:
            return f"{error}"
        return known

    def score(self, number: int, body: Body) -> list[Row] | FergiRewardError:
        left = self._waiting[number] = Left()
        try:
            return self._scoring.score(body, left) if self._scoring else NoWorkerError("the scorers are not loaded")
        except WHOLE_REQUEST as error:
            return error
        finally:
            self._waiting.pop(number, None)

    def leave(self, number: int) -> None:
        if left := self._waiting.pop(number, None):
            left.set_result(True)

    def batches(self) -> list[int]:
        """The sizes of those that were finished since the last time; waits for one."""
        return [self._finished.get(), *(self._finished.get() for _ in range(self._finished.qsize()))]
