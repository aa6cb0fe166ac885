"""A server that is killed, and a disk that is full: what was acknowledged stays, and nothing is half there."""

import resource
import signal
import socket
import sqlite3
import threading

from collect_load import Served, attack, compare, make_pictures

from fergi_reward.collect.store import StorageError, Store
from fergi_reward.privacy.study_database import connected


def test_a_killed_server_loses_nothing_that_it_acknowledged(tmp_path):
    make_pictures(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    served = Served(tmp_path, port)
    served.start()
    people = attack(served, participants=4, seconds=0.5, kills=1)
    served.end(signal.SIGTERM)
    assert compare(tmp_path / "study", people) == []
    assert sum(len(each.showings) for each in people) == 24


def test_a_full_disk_is_said_and_leaves_nothing_half(tmp_path):
    store = Store(tmp_path)
    store.run(lambda connection: connection.execute("CREATE TABLE kept (content BLOB)")).result()
    size = store.path.stat().st_size + 64 * 4096
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    def add(connection):
        for _ in range(4):
            connection.execute("INSERT INTO kept VALUES (randomblob(30000))")

    try:
        jobs = [store.run(add) for _ in range(40)]
        failures = [job.exception() for job in jobs]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    done = failures.count(None)
    assert 0 < done < 40 and all(isinstance(each, StorageError) for each in failures if each)
    assert str(failures[-1]).startswith(f"cannot write {store.path} (")
    assert str(failures[-1]).endswith("): make room; what was acknowledged is kept")
    store.run(add).result()  # there is room again
    store.close()
    database = connected(store.path)
    assert database.execute("SELECT count(*) FROM kept").fetchone()[0] == 4 * (done + 1)
    assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    database.close()


def test_a_page_learns_that_the_disk_is_full(served, monkeypatch):
    with served() as serving:
        browser, state = serving.entered()

        def full(connection):
            raise sqlite3.OperationalError("database or disk is full")

        run = serving.study.store.run
        monkeypatch.setattr(serving.study.store, "run", lambda job: run(full))
        status, found = browser.post(f"/api/trials/{state['trials'][0]['trial']}/start")
        assert (status, found["error"]) == (507, "storage")
        monkeypatch.undo()
        browser.done(f"/api/trials/{state['trials'][0]['trial']}/start")


def test_jobs_of_many_threads_are_all_done_or_refused(tmp_path):
    store = Store(tmp_path)
    store.run(lambda connection: connection.execute("CREATE TABLE kept (number INTEGER UNIQUE)")).result()
    found = list[object]()

    def add(number):
        job = store.run(lambda connection: connection.execute("INSERT INTO kept VALUES (?)", (number % 50,)))
        found.append(type(job.exception()))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(type(None)) == 50 and found.count(sqlite3.IntegrityError) == 50
    store.close()


def test_a_store_that_was_closed_has_done_what_it_was_asked(tmp_path):
    store = Store(tmp_path)
    job = store.run(lambda connection: connection.execute("INSERT INTO notices VALUES ('now', 'kept')").rowcount)
    store.close()
    assert job.result(timeout=5) == 1
