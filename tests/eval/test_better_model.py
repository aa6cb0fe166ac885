"""The comparison of rewards on the toy: its tasks, the processes they run in, and its table."""

import json
import os
import signal
import time
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path

import better_model
import better_model_jobs
import numpy as np
import pytest
from better_model_jobs import Job
from better_model_report import crossed_interval, wins, write_report
from better_model_results import METHODS, REWARDS, Budget, Judged, Result, Task, all_tasks, read_results, write_results
from click.testing import CliRunner

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.figure_files import FIGURE_FILES

BUDGET = Budget(pictures=256, noises=2)


def judged(psnr, right=1, reward=0.0):
    return Judged([[psnr, psnr]] * 32, [[right, right]] * 32, reward)


def result(task, before=19.0, after=19.5):
    return Result(task, BUDGET, "a processor", 1.0, judged(before), judged(after))


def in_forks(jobs, tmp_path, at_once=2, seconds=30.0):
    context = get_context("fork")
    return list(better_model_jobs.run(jobs, at_once, context, tmp_path / "logs", time.monotonic() + seconds))


def fails():
    print("what it said before")
    raise FergiRewardError("there is no such scorer")


def is_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_job_that_fails_or_is_killed_stops_no_other_but_those_that_need_it(tmp_path):
    jobs = [
        *(Job("fails", fails), Job("killed", is_killed), Job("needy", abs, (-1,), needs="fails")),
        *(Job("needs abs", abs, (-3,), needs="abs"), Job("abs", abs, (-2,))),
    ]
    ended = {one.job.name: (one.result, one.failed) for one in in_forks(jobs, tmp_path)}
    assert ended == {
        "fails": (None, "there is no such scorer"),
        "killed": (None, "it ended with status -9"),
        "needy": (None, "it needs fails, which failed"),
        "abs": (2, None),
        "needs abs": (3, None),
    }
    assert "what it said before" in (tmp_path / "logs" / "fails.txt").read_text()


def test_what_runs_at_the_deadline_is_ended_and_not_reported(tmp_path):
    started = time.monotonic()
    jobs = [Job("abs", abs, (-2,)), Job("long", time.sleep, (60,)), Job("never", abs, (-2,), needs="long")]
    assert [one.job.name for one in in_forks(jobs, tmp_path, seconds=0.5)] == ["abs"]
    assert time.monotonic() - started < 30


@pytest.fixture
def do_in_forks(monkeypatch):
    """The program with tasks that take no time: those of DRaFT fail."""

    def do(task, budget, out):
        if task.method == "draft":
            raise ValueError("it fell apart")
        return result(task)

    fork = get_context("fork")
    monkeypatch.setattr(better_model, "do", do)
    monkeypatch.setattr(better_model, "use_device", lambda device: None)
    monkeypatch.setattr(fork, "set_forkserver_preload", lambda names: None, raising=False)
    monkeypatch.setattr(better_model.multiprocessing, "get_context", lambda method: fork)


def command(out, *options):
    settings = ["--pictures", "256", "--noises", "2", "--seeds", "1", "--rewards", "equal", "--rewards", "calibrated"]
    return CliRunner().invoke(better_model.main, ["--out", str(out), *settings, *options])


@pytest.mark.usefixtures("do_in_forks")
def test_a_failure_is_told_at_the_end_and_only_what_is_missing_is_done_again(tmp_path, monkeypatch):
    told = command(tmp_path, "--jobs", "2")
    assert told.exit_code == 1
    assert "draft-equal-0 FAILED: it fell apart" in told.output
    assert "2 tasks failed, 0 were not finished" in told.output
    assert len(read_results([tmp_path / better_model.FILE])) == 8
    monkeypatch.setattr(better_model, "do", lambda task, budget, out: result(task, after=20.0))
    again = command(tmp_path)
    assert again.exit_code == 0
    assert "8 tasks are done, 2 to do" in again.output
    found = read_results([tmp_path / better_model.FILE])
    assert {task: one.after.psnr[0][0] for task, one in found.items()} == {
        task: 20.0 if task.method == "draft" else 19.5 for task in all_tasks(METHODS, ("equal", "calibrated"), 1)
    }


@pytest.mark.usefixtures("do_in_forks")
def test_results_of_another_machine_are_taken_and_those_of_another_budget_refused(tmp_path):
    write_results(tmp_path / "there.jsonl", {task: result(task) for task in all_tasks(["draft"], REWARDS, 1)})
    told = command(tmp_path / "here", "--results", str(tmp_path / "there.jsonl"))
    assert told.exit_code == 0
    assert len(read_results([tmp_path / "here" / better_model.FILE])) == 12
    with pytest.raises(FergiRewardError, match=r"line 1 was made with Budget\(pictures=256, .* not Budget\(pictures=5"):
        read_results([tmp_path / "there.jsonl"], replace(BUDGET, pictures=512))


@pytest.mark.parametrize(
    ("where", "what", "message"),
    [
        ("seconds", None, "keys are"),
        ("psnr", [[19.0, 19.0]] * 31, "2 numbers for each of 32 captions"),
        ("psnr", [[19.0, "far"]] * 32, "could not convert"),
        ("right", [[2, 0]] * 32, "must be 0 or 1"),
        ("method", "grpo", "there is no task"),
    ],
)
def test_a_line_that_is_no_result_is_refused(tmp_path, where, what, message):
    record = asdict(result(Task("nft", "equal", 0)))
    if where == "seconds":
        del record["seconds"]
    else:
        record["task" if where == "method" else "after"][where] = what
    (tmp_path / "results.jsonl").write_text(json.dumps(record) + "\n")
    with pytest.raises(FergiRewardError, match=rf"line 1 is no result of better_model\.py \(.*{message}"):
        read_results([tmp_path / "results.jsonl"])


def test_the_interval_of_runs_and_captions_is_that_worked_by_hand():
    # Runs 1, 2, 3 and captions -1, 1 add up, with nothing left: R = 2 x 1 = 2, C = 3 x 2 = 6, RC = 0. The variance
    # is (2 + 6) / 6, with 8^2 / (2^2 / 2) = 32 degrees of freedom, of which Student's quantile is 2.0369.
    added = np.array([[0.0, 2.0], [1.0, 3.0], [2.0, 4.0]])
    estimate = crossed_interval(added)
    assert estimate.mean == 2
    assert estimate.bounds == pytest.approx((2 - 2.0369 * (8 / 6) ** 0.5, 2 + 2.0369 * (8 / 6) ** 0.5), abs=1e-4)
    assert crossed_interval(added[:1]).bounds is None
    assert crossed_interval(np.ones((3, 4))).bounds == (1, 1)


def test_the_interval_holds_the_truth_in_19_of_20_worlds():
    rng, held, worlds = np.random.default_rng(0), 0, 400
    for _ in range(worlds):
        values = rng.normal(0, 0.2, (3, 1)) + rng.normal(0, 0.3, (1, 32)) + rng.normal(0, 0.5, (3, 32))
        low, high = crossed_interval(values).bounds
        held += low <= 0 <= high
    assert 0.92 * worlds < held < 0.99 * worlds


def test_the_right_scene_wins_before_the_nearer_picture():
    after = Judged([[18.0, 20.0, 18.0, 19.0]], [[1, 0, 1, 1]], 0)
    before = Judged([[19.0, 19.0, 19.0, 19.0]], [[0, 1, 1, 1]], 0)
    assert wins(after, before).tolist() == [(1 + 0 + 0 + 0.5) / 4]


def test_a_report_says_where_calibrated_weights_do_not_beat_equal_ones(tmp_path):
    # DDPO: 0.3 dB better from each seed. DRaFT: by seed 0.1 better, 0.1 worse, the same. One run is missing.
    after = {"one": [19.5] * 3, "equal": [19.5] * 3, "calibrated": [19.8] * 3}
    found = {task: result(task, after=after[task.reward][0]) for task in all_tasks(["ddpo"], after, 3)}
    after["calibrated"] = [19.6, 19.4, 19.5]
    found |= {task: result(task, after=after[task.reward][task.seed]) for task in all_tasks(["draft"], after, 3)}
    del found[Task("ddpo", "equal", 2)]
    text = write_report(found, tmp_path)
    (ddpo, draft, both) = [line.split("|")[1:-1] for line in text.split("equal weights   ")[-1].splitlines()[2:5]]
    assert [cell.strip() for cell in ddpo] == ["DDPO", "2", "0.30 (0.30 to 0.30)", "100.0 (100.0 to 100.0)", "better"]
    # Student's quantile of two degrees of freedom is 4.303, the seeds' standard error 0.1 / 3^0.5.
    assert [cell.strip() for cell in draft][:3] == ["DRaFT-1", "3", "0.00 (-0.25 to 0.25)"]
    assert [cell.strip() for cell in draft][-1] == [cell.strip() for cell in both][-1] == "no difference seen"
    assert "Missing: DDPO on equal weights, seed 2; DDPO on calibrated, with the predicted reaction, seed 0" in text
    assert (tmp_path / "report.md").read_text() == text
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.md",
        *(f"better_model.{kind}" for kind in FIGURE_FILES),
    }
    with pytest.raises(FergiRewardError, match="has no results"):
        write_report({}, tmp_path)


def test_a_task_trains_and_is_judged_before_and_after(tmp_path, monkeypatch):
    import better_model_tasks
    from better_model_tasks import perform, read_yaml

    assert tuple(better_model_tasks.METHODS) == METHODS
    short = {"sample_num_steps": 2, "train_batch_size": 8}
    monkeypatch.setattr(better_model_tasks, "read_yaml", lambda path: read_yaml(path) | short)
    task, budget = Task("draft", "one", 0), Budget(pictures=64, noises=1)
    done = perform(task, budget, tmp_path / "none", tmp_path / "run")
    done.check()
    assert done.before.psnr != done.after.psnr
    write_results(tmp_path / "results.jsonl", {task: done})
    assert read_results([tmp_path / "results.jsonl"], budget) == {task: done}
    with pytest.raises(FergiRewardError, match="is no predictor"):
        perform(Task("draft", "predicted", 0), budget, tmp_path / "none", tmp_path / "run")


def waits_for_a_job(folder):
    pid = folder / "pid"
    better_jobs = [Job("long", writes_its_number_and_sleeps, (pid,))]
    list(better_model_jobs.run(better_jobs, 1, get_context("fork"), folder / "logs", time.monotonic() + 60))


def writes_its_number_and_sleeps(path):
    path.write_text(str(os.getpid()))
    time.sleep(60)


def test_a_job_ends_with_the_program_that_is_killed(tmp_path):
    program = get_context("fork").Process(target=waits_for_a_job, args=(tmp_path,))
    program.start()
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    program.kill()
    program.join()
    number = int((tmp_path / "pid").read_text())
    for _ in range(500):
        if not is_running(number):
            return
        time.sleep(0.01)
    pytest.fail(f"process {number} runs on")


def is_running(number):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{number}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
