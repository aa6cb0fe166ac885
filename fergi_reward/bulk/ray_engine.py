"""`score --engine ray`: batches through workers on a Ray cluster, by Ray Data.

One task on this machine streams the batches, a pool of workers scores them with the function that scores in one
process, and what they find goes into the store here, as it arrives. A worker that dies is started again, with its
batches.
"""

import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from logging import ERROR, getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fergi_reward.bulk.batch_scores import BatchScores
from fergi_reward.bulk.scoring import Batch, Found, Load, Running, Share, scored_batches
from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.core.ray_cluster import ray_cluster
from fergi_reward.core.short_warnings import shorten_warnings
from fergi_reward.scorers.base import T

if TYPE_CHECKING:
    from ray.data import DataContext, Dataset

# A worker decodes the next one meanwhile; with more, the other workers would wait longer for the last one.
BATCHES_PER_TASK = 8


@contextmanager
def on_ray(load: Load, workers: int, share: Share) -> Iterator[Running]:
    """Score on the Ray cluster of RAY_ADDRESS, else of this machine, else on one started for this.

    Args:
        load: Loads the scorers, once in each worker.
        workers: Threads in each worker that decode the next images meanwhile.
        share: That of the only process: the workers share the batches.

    Raises:
        FergiRewardError: There are several processes, there is no Ray, or it fails.
    """
    if share.processes > 1:
        raise FergiRewardError(
            f"--engine ray shares the work among its own workers and got {share.processes} processes: start it once, "
            "without accelerate launch or torchrun"
        )
    try:
        import ray  # noqa: F401 - also where its modules are in memory already
        from ray.data.exceptions import ExecutionTimeoutError
        from ray.exceptions import ActorDiedError, RayError
    except ImportError as error:
        raise MissingDependencyError("ray", "--engine ray", "ray") from error
    with ray_cluster(), _quiet_data() as context:
        try:
            pool = _pool()
            yield Running(_context(load, pool), lambda batches: _scored(batches, load, workers, pool))
        except ActorDiedError as error:
            raise _no_worker(error) from error
        except RayError as error:
            if "ModuleNotFoundError" in str(error):
                raise _no_worker(error) from error
            raise FergiRewardError(
                f"Ray failed ({str(error).strip().splitlines()[-1]}): what is scored is kept, run this again"
            ) from error
        except ExecutionTimeoutError as error:  # Ray Data starts a worker that dies again without end, if not for this
            raise FergiRewardError(
                f"nothing was scored on Ray for {context.execution_no_progress_timeout_s / 60:g} min: see its log for "
                "workers that died or found no place, and run this again, it resumes where it stopped; where the first "
                "batch takes longer, set RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S"
            ) from error


def _no_worker(error: Exception) -> FergiRewardError:
    return FergiRewardError(
        f"no worker can start on Ray ({str(error).strip().splitlines()[-1]}): every node needs this version of "
        "fergi-reward with the extra ray"
    )


def _context(load: Load, pool: "_Pool") -> str:
    """What the scores of a worker depend on: one worker loads the scorers, to say it."""
    import ray

    # The process that says it may become a worker, which need not import again; with a GPU it ends, to free its memory.
    calls = 1 if pool.gpus else 0
    asked = ray.remote(num_cpus=pool.cpus, num_gpus=pool.gpus, max_calls=calls)(_loaded_context)
    (context,) = _checked(ray.get(asked.remote(load, torch.get_num_threads(), Path.cwd())))
    return str(context)


def _loaded_context(load: Load, threads: int, folder: Path) -> "tuple[str] | str":
    """The context, or as an error would be tried again, the sentence of one."""
    try:
        return (_loaded(load, threads, folder).context,)
    except FergiRewardError as error:
        return str(error)


def _scored(batches: Callable[[], Iterator[Batch]], load: Load, workers: int, pool: "_Pool") -> Iterator[Found]:
    """The outcome of each batch, in the order in which they are done."""
    for block in _dataset(batches, load, workers, pool).iter_batches(batch_size=None, prefetch_batches=0):
        for pickled in block["found"]:
            yield _checked(pickle.loads(pickled))


def _dataset(batches: Callable[[], Iterator[Batch]], load: Load, workers: int, pool: "_Pool") -> "Dataset":
    """The remaining work, one row per batch."""
    import ray

    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    return (
        ray.data.from_items([0], override_num_blocks=1)
        .map_batches(_Reader(batches), num_cpus=0, label_selector=here)
        .map_batches(
            _Worker,
            fn_constructor_args=(load, workers, torch.get_num_threads(), Path.cwd()),
            batch_size=BATCHES_PER_TASK,
            compute=ray.data.ActorPoolStrategy(size=pool.size),
            num_gpus=pool.gpus,
            num_cpus=pool.cpus,
        )
    )


def _checked(found: T | str) -> T:
    """What a worker found, unless it is why it cannot work."""
    if isinstance(found, str):
        raise FergiRewardError(found)
    return found


class _Reader:
    """Streams the batches, pickled, so that this process never holds all rows."""

    def __init__(self, batches: Callable[[], Iterator[Batch]]) -> None:
        self.batches, self.folder = batches, Path.cwd()

    def __call__(self, _: object) -> Iterator[dict[str, list[bytes]]]:
        with chdir(self.folder):
            for batch in self.batches():
                yield {"batch": [pickle.dumps(batch)]}


class _Worker:
    """Loads the scorers when its first batch comes, and scores.

    Args:
        load: Loads the scorers.
        workers: Threads that decode.
        threads: Threads that compute, as many as in the process that asks: the last bit of a score depends on it.
        folder: Where the command was given, for relative paths.
    """

    def __init__(self, load: Load, workers: int, threads: int, folder: Path) -> None:
        self.load, self.workers, self.threads, self.folder = load, workers, threads, folder
        self.scores: BatchScores | None = None

    def __call__(self, block: Mapping[str, Any]) -> Iterator[dict[str, list[bytes]]]:
        """The outcome of each batch or, as an error would be tried again, its sentence."""
        try:
            self.scores = self.scores or _loaded(self.load, self.threads, self.folder)
            for found in scored_batches(map(pickle.loads, block["batch"]), self.scores, self.workers):
                yield {"found": [pickle.dumps(found)]}
        except FergiRewardError as error:
            yield {"found": [pickle.dumps(str(error))]}


def _loaded(load: Load, threads: int, folder: Path) -> BatchScores:
    """The scorers of a worker."""
    torch.set_num_threads(threads)
    shorten_warnings()
    try:
        os.chdir(folder)
    except OSError as error:
        raise FergiRewardError(
            f"a worker on Ray cannot enter {folder} ({error}): every node needs the pictures at the same place"
        ) from error
    return load(Share())


@dataclass(frozen=True)
class _Pool:
    """How many workers, and the GPUs and CPUs that each takes."""

    size: int
    gpus: int
    cpus: int


def _pool() -> _Pool:
    """A worker for each GPU of the cluster; where it has none, for as many CPUs as torch has threads."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if gpus := int(sum(node.get("GPU", 0) for node in nodes)):
        return _Pool(gpus, gpus=1, cpus=0)
    threads, cpus = torch.get_num_threads(), [int(node.get("CPU", 0)) for node in nodes]
    if threads > max(cpus):
        raise FergiRewardError(
            f"a worker computes with {threads} threads and the largest node of the Ray cluster has {max(cpus)} CPUs: "
            "set OMP_NUM_THREADS to fewer, or add nodes"
        )
    return _Pool(sum(cpu // threads for cpu in cpus), gpus=0, cpus=threads)


@contextmanager
def _quiet_data() -> "Iterator[DataContext]":
    """Ray Data without bars and chatter; each batch is handed on as soon as it is there."""
    from ray.data import DataContext

    getLogger("ray.data").setLevel(ERROR)
    warnings.filterwarnings("ignore", module=r"ray\.data")  # such as that a small set does not need all workers
    context = DataContext.get_current().copy()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.target_max_block_size = 1  # bytes: every batch a block, else Ray Data gathers 128 MB
    with DataContext.current(context):
        yield context
