"""`fergi-reward score --engine ray` with workers of one thread: the table of one process."""

import csv
import importlib
import os
import signal
import socket
import sys
import time
from contextlib import chdir
from pathlib import Path
from threading import Thread

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from fergi_reward.bulk.ray_engine import on_ray
from fergi_reward.bulk.scoring import Share
from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.core.ray_cluster import sigterm_as_before
from fergi_reward.toy import emoji
from tests.command_line import invoke

ray = pytest.importorskip("ray", reason="Ray comes with the extra ray")

ROWS = 240


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The last bit of a score hangs on the number of threads; with one, each CPU has its worker."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cluster():
    """Its address; it has one worker, and was started somewhere else than where the commands are given."""
    with sigterm_as_before():
        context = ray.init(address="local", num_cpus=1, include_dashboard=False, object_store_memory=100 * 2**20)
        yield context.address_info["address"]
        ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, one_thread):
    """A manifest of 240 rows, one picture missing and one truncated, and the table of one process."""
    folder, draws = tmp_path_factory.mktemp("set"), np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(draws.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:300])
    rows = [(f"{number % 8}.png", f"a cat, number {number}") for number in range(ROWS)]
    rows[77], rows[201] = ("missing.png", "a"), ("broken.png", "b")
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "prompt"), *rows])
    with chdir(folder):
        assert invoke(arguments("local.csv", "local")).exit_code == 3
    return folder


@pytest.fixture
def within(folder, monkeypatch):
    """As `folder`, entered."""
    monkeypatch.chdir(folder)
    return folder


def arguments(out, engine):
    """One scorer alone: each worker imports again what it needs."""
    scorer = ["--scorers=pickscore", f"--checkpoints=pickscore={emoji.checkpoints()['pickscore']}"]
    return ["score", "--images=manifest.csv", *scorer, "--batch-size=2", f"--out={out}", f"--engine={engine}"]


@pytest.fixture
def start(forked, folder):
    """A function that starts the command in a process of its own."""

    def start(out, engine, **environment):
        return forked(["-m", "fergi_reward", *arguments(out, engine)], cwd=folder, environment=environment)

    return start


def journaled(folder, out):
    files = (folder / f".{out}.journal").glob("*.lines")
    return sum(path.read_bytes().count(b" [") for path in files)  # lists of scores, a row each


def wait_for_scores(run, folder, out, more_than):
    while journaled(folder, out) <= more_than:
        assert run.poll() is None, run.stderr
        time.sleep(0.01)


def killed_in_the_middle(run, folder, out):
    """How many rows the journal of a run holds that was killed."""
    wait_for_scores(run, folder, out, more_than=20)
    run.kill()
    assert journaled(folder, out) < ROWS
    return journaled(folder, out)


def check_kept_here(driver):
    """Nobody on another machine reaches the cluster, and nobody else on this one its sockets and logs."""
    family = [driver, *driver.children(recursive=True)]
    sockets = [each for one in family for each in one.net_connections("inet")]
    listening = [each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN]
    assert len(listening) > 3
    assert set(listening) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    own = Path(f"/tmp/fergi_reward-{os.getuid()}")
    assert own.stat().st_mode & 0o777 == 0o700
    local = {each.laddr for one in family for each in one.net_connections("unix") if each.laddr.startswith("/")}
    assert local and all(Path(name).is_relative_to(own / "ray") for name in local)


def test_ray_resumes_for_one_process_and_a_killed_worker_costs_nothing(folder, start):
    errors = (folder / "local.csv.errors.csv").read_bytes()
    before = killed_in_the_middle(start("ray.csv", "local"), folder, "ray.csv")
    run = start("ray.csv", "ray", RAY_ADDRESS="local", HOME=str(folder))  # it starts one
    wait_for_scores(run, folder, "ray.csv", more_than=before)
    driver = psutil.Process(run.processes[0].pid)
    running = [p for p in driver.children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]  # it has no command
    workers = [p for p in running if "MapWorker" in "".join(p.cmdline())]
    assert len(workers) > 1
    check_kept_here(driver)
    workers[0].kill()
    assert journaled(folder, "ray.csv") < ROWS
    assert run.wait() == 3, run.stderr
    assert "A worker died or was killed" in run.stdout  # it is Ray that says so
    assert (folder / "ray.csv").read_bytes() == (folder / "local.csv").read_bytes()
    assert (folder / "ray.csv.errors.csv").read_bytes() == errors
    assert not (folder / ".ray").exists()  # where Ray puts a token that everybody can read
    assert f"{before} of its rows were kept" in run.stdout
    lines = [line for line in run.stderr.replace("\r", "\n").splitlines() if not line.startswith("scoring:")]
    kept, failed = f"{before} of {ROWS} rows are kept", "2 images could not be scored: ray.csv.errors.csv"
    assert [line for line in lines if line] == [kept, failed]


def test_a_cluster_that_is_not_there(within, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    result = invoke(arguments("nowhere.csv", "ray"))
    assert result.exit_code == 2
    assert f"no Ray cluster answers at RAY_ADDRESS={address}" in result.stderr


def test_a_port_of_something_else_is_refused_at_once(within, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)

        def answer():
            with server.accept()[0] as asked:
                asked.recv(100)
                asked.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = Thread(target=answer)
        thread.start()
        result = invoke(arguments("dashboard.csv", "ray"))
        thread.join()
    assert result.exit_code == 2
    assert f"what answers at RAY_ADDRESS={address} is no Ray cluster: give the port of its head" in result.stderr


def test_rays_client_is_refused(within, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    result = invoke(arguments("client.csv", "ray"))
    assert result.exit_code == 2
    assert "RAY_ADDRESS is ray://head:10001: give HOST:PORT" in result.stderr


def test_one_process_resumes_for_ray(cluster, within, start):
    run = start("one.csv", "ray", RAY_ADDRESS=cluster)
    wait_for_scores(run, within, "one.csv", more_than=20)
    os.kill(run.processes[0].pid, signal.SIGTERM)
    assert run.wait() == 143
    assert "stopped by SIGTERM: run the same command again, it resumes" in run.stderr
    before = journaled(within, "one.csv")
    assert before < ROWS
    result = invoke(arguments("one.csv", "local"))
    assert f"{before} of its rows were kept" in result.stdout
    assert (within / "one.csv").read_bytes() == (within / "local.csv").read_bytes()


def test_a_checkpoint_that_cannot_be_loaded_is_one_sentence(cluster, within):
    (within / "empty").mkdir()
    given = [word for word in arguments("broken.csv", "ray") if not str(word).startswith("--checkpoints")]
    result = invoke([*given, "--checkpoints=pickscore=empty"])
    assert result.exit_code == 2, result.output
    assert "error: the checkpoint folder empty has no" in result.stderr
    assert "Traceback" not in result.stderr


def test_more_threads_than_any_node_has_cpus(cluster, within):
    torch.set_num_threads(3)
    result = invoke(arguments("threads.csv", "ray"))
    torch.set_num_threads(1)
    assert result.exit_code == 2, result.output
    assert "computes with 3 threads and the largest node of the Ray cluster has 1 CPUs" in result.stderr


def test_nodes_without_the_package(cluster, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def load(share): ...")
    monkeypatch.syspath_prepend(tmp_path)
    load = importlib.import_module("only_here").load
    with (
        pytest.raises(FergiRewardError, match=r"no worker can start on Ray \(ModuleNotFoundError: No module named"),
        on_ray(load, 1, Share()),
    ):
        pass


def test_several_processes_are_refused():
    with pytest.raises(FergiRewardError, match="got 2 processes: start it once, without accelerate launch"):
        on_ray(lambda share: None, 1, Share(0, 2)).__enter__()


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"fergi-reward\[ray\]"):
        on_ray(lambda share: None, 1, Share()).__enter__()
