"""Workers that are actors on a Ray cluster, on this machine or on others; the server itself stays one process."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import torch

from fergi_reward.callables.batching import TimeLimitError
from fergi_reward.core.errors import FergiRewardError, MissingDependencyError, UnavailableError
from fergi_reward.core.ray_cluster import ray_cluster
from fergi_reward.reward import CombinedReward
from fergi_reward.serve.options import ServeLimits, ServeOptions
from fergi_reward.serve.protocols.asked import Body
from fergi_reward.serve.scoring import NoWorkerError
from fergi_reward.serve.workers import THREADS, Known, LoadedReward, Scored, WorkerPool

Load = Callable[[int], CombinedReward]


@contextmanager
def started_on_ray(options: ServeOptions, load: Load) -> Iterator[WorkerPool]:
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
        yield WorkerPool(lambda number: RayWorker(load, number, options, min(gpus, 1), threads), count)


class RayWorker:
    """A worker that is an actor.

    Args:
        load: Loads the reward of the worker with this number, from 0.
        number: Its number.
        limits: How requests are batched, and how long an answer may take.
        gpus: GPUs that it takes, 0 or 1.
        threads: Threads that compute.
    """

    def __init__(self, load: Load, number: int, limits: ServeLimits, gpus: int, threads: int) -> None:
        import ray

        # One thread of the actor is that of `wait`.
        asked = ray.remote(_Actor).options(
            num_cpus=0 if gpus else threads, num_gpus=gpus, max_concurrency=THREADS + 1, max_restarts=0
        )
        self._limits = limits
        self._actor: Any = asked.remote(load, number, limits, threads, Path.cwd())

    def load(self) -> Known:
        """What its reward is.

        Raises:
            FergiRewardError: It cannot load the scorers, or died.
        """
        import ray

        try:
            known: Known | str = ray.get(self._actor.load.remote())
        except ray.exceptions.RayError as error:
            raise FergiRewardError(f"Ray says: {_last_line(error)}") from error
        if isinstance(known, str):
            raise FergiRewardError(known)
        return known

    def score(self, body: Body) -> Scored:
        """The rows of a request.

        Raises:
            NoWorkerError: It died before it answered.
            TimeLimitError: It took too long.
        """
        import ray

        try:
            scored: Scored | FergiRewardError = ray.get(self._actor.score.remote(body), timeout=self._limits.time_limit)
        except ray.exceptions.GetTimeoutError as error:
            raise TimeLimitError("a worker took too long") from error
        except (ray.exceptions.RayActorError, ray.exceptions.RaySystemError) as error:
            raise NoWorkerError("the worker that had this request died before it answered: ask again") from error
        if isinstance(scored, FergiRewardError):
            raise scored
        return scored

    def wait(self) -> str:
        """Wait until it has ended; how it did."""
        import ray

        try:
            ray.get(self._actor.wait.remote())
        except ray.exceptions.RayError as error:
            return f"died ({type(error).__name__}; Ray's logs say more)"
        return "ended"

    def stop(self) -> None:
        """End it at once."""
        import ray

        ray.kill(self._actor)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


class _Actor:
    """What Ray runs: mistakes are answers, since Ray would show an error with its traceback."""

    def __init__(self, load: Load, number: int, limits: ServeLimits, threads: int, folder: Path) -> None:
        self._load, self._number, self._limits, self._threads, self._folder = load, number, limits, threads, folder
        self._reward: LoadedReward | None = None

    def load(self) -> Known | str:
        try:
            os.chdir(self._folder)
            self._reward = LoadedReward(self._load, self._number, self._limits, self._threads)
        except OSError as error:
            return f"it cannot enter {self._folder} ({error}): every node needs the same folder"
        except FergiRewardError as error:
            return f"{error}"
        return self._reward.known

    def score(self, body: Body) -> Scored | FergiRewardError:
        try:
            return self._reward.score(body) if self._reward else NoWorkerError("the scorers are not loaded")
        except (TimeLimitError, UnavailableError) as error:
            return error

    def wait(self) -> None:
        Event().wait()
