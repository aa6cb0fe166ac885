"""Do calibrated weights make a better model? Five methods on four rewards, by a judge that no reward knows. A toy.

python eval/toy/better_model.py --jobs 16 --device cpu
python eval/toy/better_model.py --report

Each method is trained from three seeds on (a) one scorer, (b) all three with equal weights, (c) with the calibration's
and (d) with the calibration's and a predicted reaction, at the same budget of pictures. A task that is done is not
done again: results of several machines are merged with --results. What is compared, by which interval, is written in
better_model_report.py.
"""

import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import better_model_jobs
import click
from better_model_jobs import Job
from better_model_results import METHODS, REWARDS, Budget, Result, Task, all_tasks, read_results, write_results

from fergi_reward.cli.errors import clean_exit
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.terminal import one_line
from fergi_reward.files.locks import owned

PATH = click.Path(path_type=Path)
FILE = "results.jsonl"
PREDICTOR = "predictor"
COUNT = click.IntRange(min=1)
# What takes seconds to import, by the process that all tasks are forked from.
IMPORTED = [
    *("fergi_reward.toy.emoji.evaluation", "fergi_reward.toy.emoji.viewers", "fergi_reward.core.machine"),
    *("fergi_reward.trainers.ddpo", "fergi_reward.trainers.flow_grpo", "fergi_reward.trainers.nft"),
    *("fergi_reward.trainers.reward_backprop", "fergi_reward.trainers.diffusion_dpo", "peft"),
    *("fergi_reward.scorers.image_reward", "fergi_reward.scorers.pickscore", "fergi_reward.scorers.hps"),
    *("fergi_reward.diffusion.load", "fergi_reward.toy.emoji.flow_pipeline"),
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
]


@click.command()
@click.option("--methods", type=click.Choice(METHODS), multiple=True, default=METHODS, help="Methods; all by default.")
@click.option("--rewards", type=click.Choice(REWARDS), multiple=True, default=REWARDS, help="Rewards; all by default.")
@click.option("--seeds", type=COUNT, default=3, show_default=True, help="Seeds 0, 1, ... of each.")
@click.option(
    "--pictures", type=click.IntRange(min=256), default=Budget.pictures, show_default=True, help="To train on."
)
@click.option("--noises", type=COUNT, default=Budget.noises, show_default=True, help="Pictures judged per caption.")
@click.option(
    "--jobs", type=COUNT, default=1, show_default=True, help="Tasks at a time, in a process of one thread each."
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--limit-minutes", type=click.FloatRange(min=0, min_open=True), help="Then what runs is ended.")
@click.option("--results", type=PATH, multiple=True, help="Results of other machines, which are not made again.")
@click.option("--report", is_flag=True, help="Train nothing: write the table and the plot of the results there are.")
@click.option("--out", type=PATH, default=Path("runs/better_model"), show_default=True, help=f"Folder of {FILE}.")
def main(
    methods: Sequence[str],
    rewards: Sequence[str],
    seeds: int,
    pictures: int,
    noises: int,
    jobs: int,
    device: str,
    limit_minutes: float | None,
    results: Sequence[Path],
    report: bool,
    out: Path,
) -> None:
    """Train and judge what is missing, or report what there is."""
    with clean_exit():  # inside the command: click would make a traceback of a signal
        files = [path for path in (out / FILE,) if path.exists()] + list(results)
        if report:
            from better_model_report import write_report

            click.echo(write_report(read_results(files), out))
        else:
            deadline = time.monotonic() + 60 * limit_minutes if limit_minutes else float("inf")
            use_device(device)
            with owned(out / FILE):
                done = read_results(files, budget := Budget(pictures, noises))
                complete(all_tasks(methods, rewards, seeds), budget, done, out, jobs, deadline)


def complete(
    tasks: Sequence[Task], budget: Budget, done: dict[Task, Result], out: Path, at_once: int, deadline: float
) -> None:
    """Do the tasks that are not done; leave with status 1 where some are not done then either."""
    to_do = [task for task in tasks if task not in done]
    click.echo(f"{len(done)} tasks are done, {len(to_do)} to do")
    failed = perform(to_do, budget, done, out, at_once, deadline)
    if missing := [task for task in to_do if task not in done]:
        click.echo(f"{failed} tasks failed, {len(missing) - failed} were not finished: the same command does them")
        sys.exit(1)


def use_device(device: str) -> None:
    """Have this process's children compute there, with one thread each.

    Raises:
        FergiRewardError: There is no GPU.
    """
    import torch

    os.environ["OMP_NUM_THREADS"] = "1"
    if device == "cpu":
        os.environ |= {"ACCELERATE_USE_CPU": "1", "CUDA_VISIBLE_DEVICES": ""}
    elif not torch.cuda.is_available():
        raise FergiRewardError("--device cuda: torch finds no GPU here; give --device cpu")


def perform(
    tasks: Sequence[Task], budget: Budget, done: dict[Task, Result], out: Path, at_once: int, deadline: float
) -> int:
    """Do the tasks, adding to `done` and to its file what each finds; returns how many failed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    by_name, failed, started = {job_name(task): task for task in tasks}, 0, time.monotonic()
    for ended in better_model_jobs.run(jobs_of(tasks, budget, out), at_once, context, out / "logs", deadline):
        after = f"{(time.monotonic() - started) / 60:.1f} min"
        if ended.failed is not None:
            failed += ended.job.name in by_name
            click.echo(f"{after}: {ended.job.name} FAILED: {one_line(ended.failed)} ({out / 'logs'})", err=True)
        elif ended.job.name in by_name:
            done[by_name[ended.job.name]] = ended.result
            write_results(out / FILE, done)
            click.echo(f"{after}, {len(done)} done: {ended.result}")
    return failed


def jobs_of(tasks: Sequence[Task], budget: Budget, out: Path) -> list[Job]:
    """A job for each task, and before them one for the predictor, where one of them needs it and it is not there."""
    is_needed = any(task.reward == "predicted" for task in tasks) and not (out / PREDICTOR).exists()
    predictor = [Job(PREDICTOR, fit_predictor, (budget, out))] if is_needed else []
    needs = {"predicted": PREDICTOR} if is_needed else {}
    return predictor + [Job(job_name(task), do, (task, budget, out), needs.get(task.reward)) for task in tasks]


def job_name(task: Task) -> str:
    """What its folder and its log are called."""
    return f"{task.method}-{task.reward}-{task.seed}"


def do(task: Task, budget: Budget, out: Path) -> Result:
    """In a process of its own: one task."""
    from better_model_tasks import perform

    with emptied(out / "tasks" / job_name(task)) as folder:
        return perform(task, budget, out / PREDICTOR, folder)


def fit_predictor(budget: Budget, out: Path) -> None:
    """In a process of its own: what the predicted reaction needs."""
    from better_model_tasks import fit

    with emptied(out / "tasks" / PREDICTOR) as folder:
        fit(budget, folder).save(out / PREDICTOR)


@contextmanager
def emptied(folder: Path) -> Iterator[Path]:
    """A folder without what a killed run left in it, which is deleted at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
