"""Calls that meet: each thread gets its own answer, whatever was asked together, failed, timed out or forked."""

import os
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fergi_reward.callables.batching import BatchedCalls, LeftError
from fergi_reward.core.errors import FergiRewardError


class Doubling:
    """Doubles the numbers of each request, and keeps what was asked together; `hold` stops it until it is set."""

    def __init__(self) -> None:
        self.batches = []
        self.hold, self.begun = threading.Event(), threading.Event()
        self.hold.set()
        self.running = 0

    def __call__(self, requests):
        self.running += 1
        assert self.running == 1  # never two at a time
        self.begun.set()
        self.hold.wait(10)
        self.batches.append([list(request) for request in requests])
        self.running -= 1
        if any(-1 in request for request in requests):
            raise ValueError(f"-1 among {requests}")
        return [[2 * number for number in request] for request in requests]


def batched(ask: Callable, **limits) -> BatchedCalls:
    return BatchedCalls(ask, kind=type, rows=len, **limits)


def meeting(ask: Doubling, calls: BatchedCalls, requests: list) -> list:
    """The answers of all requests but the first, which is being asked while the others come."""
    ask.hold.clear()
    ask.begun.clear()
    with ThreadPoolExecutor(len(requests)) as pool:
        first = pool.submit(calls, requests[0])
        assert ask.begun.wait(10)
        others = []
        for request in requests[1:]:
            before = calls.waiting
            others.append(pool.submit(calls, request))
            while calls.waiting == before and not others[-1].done():
                time.sleep(0.001)
        ask.hold.set()
        return [first, *others]


def test_calls_that_come_while_one_runs_are_asked_together():
    ask = Doubling()
    calls = batched(ask)
    futures = meeting(ask, calls, [[0], *[[number] for number in range(1, 16)]])
    assert [future.result() for future in futures] == [[2 * number] for number in range(16)]
    assert ask.batches == [[[0]], [[number] for number in range(1, 16)]]
    assert calls.waiting == 0


def test_a_batch_has_no_more_rows_than_allowed_unless_a_single_request_has():
    ask = Doubling()
    futures = meeting(ask, batched(ask, max_rows=4), [[0], [1, 1], [2, 2], [3] * 6, [4], [5, 5, 5]])
    assert [future.result()[0] for future in futures] == [0, 2, 4, 6, 8, 10]
    assert [[len(request) for request in batch] for batch in ask.batches] == [[1], [2, 2], [6], [1, 3]]


def test_kinds_are_not_mixed_and_keep_their_order():
    ask = Doubling()
    futures = meeting(ask, batched(ask), [[0], (1,), [2], (3,), [4]])
    assert [future.result() for future in futures] == [[0], [2], [4], [6], [8]]
    assert ask.batches == [[[0]], [[1], [3]], [[2], [4]]]


def test_an_error_reaches_its_own_caller_only():
    ask = Doubling()
    futures = meeting(ask, batched(ask), [[0], [1], [-1], [2]])
    assert [future.result() for future in (futures[0], futures[1], futures[3])] == [[0], [2], [4]]
    with pytest.raises(ValueError, match=r"-1 among \[\[-1\]\]"):
        futures[2].result()


def test_one_that_waits_for_others_is_asked_when_its_time_is_over_or_the_batch_is_full():
    ask = Doubling()
    assert batched(ask, max_wait=0.01)([1]) == [2]
    calls = batched(ask, max_rows=2, max_wait=600.0)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(calls, [[1], [2]])) == [[2], [4]]
    assert sorted(ask.batches[-1]) == [[1], [2]]


def test_what_nobody_waits_for_any_more_is_not_asked_and_its_thread_is_free_at_once():
    ask = Doubling()
    calls = batched(ask)
    ask.hold.clear()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(calls, [0])
        assert ask.begun.wait(10)
        left = Future()
        second, third = pool.submit(calls, [1], left), pool.submit(calls, [2])
        while calls.waiting < 3:
            time.sleep(0.001)
        left.set_result(None)
        assert isinstance(second.exception(10), LeftError)
        with pytest.raises(LeftError, match="nobody waits"):
            calls([3], left)
        ask.hold.set()
        assert (first.result(), third.result()) == ([0], [4])
    assert (ask.batches, calls.waiting) == ([[[0]], [[2]]], 0)


def test_who_leaves_while_its_batch_runs_spoils_it_for_nobody():
    ask, left = Doubling(), Future()
    calls = batched(ask)
    ask.hold.clear()
    with ThreadPoolExecutor(2) as pool:
        with calls.alone():
            kept, other = pool.submit(calls, [1]), pool.submit(calls, [2], left)
            while calls.waiting < 2:
                time.sleep(0.001)
        assert ask.begun.wait(10)
        left.set_result(None)
        ask.hold.set()
        assert kept.result() == [2]
        assert isinstance(other.exception(), LeftError | None)  # None where its thread is the one that asked for both
    assert (sorted(ask.batches[0]), calls.waiting) == ([[1], [2]], 0)


def test_whoever_asks_alone_is_not_disturbed():
    ask = Doubling()
    calls = batched(ask)
    with ThreadPoolExecutor(4) as pool:
        with calls.alone():
            futures = [pool.submit(calls, [number]) for number in range(4)]
            while calls.waiting < 4:
                time.sleep(0.001)
            assert ask.batches == []
        assert [future.result() for future in futures] == [[0], [2], [4], [6]]


class Interrupted(Doubling):
    """Whoever asks the second batch is interrupted."""

    def __call__(self, requests):
        answers = super().__call__(requests)
        if len(self.batches) == 2:
            raise KeyboardInterrupt
        return answers


def test_an_interrupted_caller_leaves_the_others_to_somebody_else():
    ask = Interrupted()
    calls = batched(ask)
    first, *others = meeting(ask, calls, [[0], [1], [2], [3]])
    assert first.result() == [0]
    outcomes = [future.exception() or future.result() for future in others]
    assert sum(isinstance(one, KeyboardInterrupt) for one in outcomes) == 1
    assert all(one == [2 * number] for number, one in enumerate(outcomes, 1) if isinstance(one, list))
    assert calls.waiting == 0


@pytest.mark.parametrize("limits", [{"max_rows": 0}, {"max_wait": -1.0}, {"max_wait": float("nan")}])
def test_limits_out_of_their_range_are_refused(limits):
    with pytest.raises(FergiRewardError, match="must be at least 1"):
        batched(Doubling(), **limits)


def test_a_pickled_copy_answers_though_its_original_is_busy():
    calls = BatchedCalls(list, kind=type, rows=len)
    with calls.alone():
        assert pickle.loads(pickle.dumps(calls))([1]) == [1]


def test_the_child_of_a_fork_answers_though_its_parent_was_busy():
    calls = batched(Doubling())
    with calls.alone():
        child = os.fork()
        if child == 0:
            os._exit(0 if calls([4]) == [8] else 1)
        assert os.waitpid(child, 0)[1] == 0


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), min_size=1, max_size=24),
    st.integers(1, 8),
    st.sampled_from([0.0, 0.001]),
)
def test_each_gets_its_own_answer_whatever_comes_when(requests, max_rows, max_wait):
    calls = batched(Doubling(), max_rows=max_rows, max_wait=max_wait)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(calls, requests)) == [[2 * number for number in request] for request in requests]
    assert calls.waiting == 0
