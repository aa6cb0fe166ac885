import os
import signal
import threading

import pytest

from fergi_reward.cli.command import Command
from fergi_reward.core import interrupts
from fergi_reward.core.interrupts import SIGNALS, Interrupted, deferred, raised
from tests.command_line import invoke


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_asks_to_end_is_an_exception(number):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=f"stopped by {number.name}") as caught, raised():
        send(number)
    assert caught.value.exit_status == 128 + number
    assert signal.getsignal(number) is before


def test_what_is_being_written_is_written_before_a_signal_ends_it():
    written = []
    with pytest.raises(Interrupted, match="SIGTERM"), raised():
        with deferred():
            send(signal.SIGTERM)
            written.append("whole")
        written.append("too much")
    assert written == ["whole"]


def test_a_second_ctrl_c_does_not_end_what_saves_after_the_first():
    saved = []
    with pytest.raises(Interrupted), raised():
        try:
            send(signal.SIGINT)
        finally:
            send(signal.SIGINT)
            send(signal.SIGTERM)
            saved.append("whole")
    assert saved == ["whole"]


def test_a_signal_after_the_grace_time_ends_what_swallowed_the_first(monkeypatch):
    monkeypatch.setattr(interrupts, "GRACE", 0.0)
    swallowed = []
    with pytest.raises(Interrupted), raised():
        try:
            send(signal.SIGTERM)
        except KeyboardInterrupt:
            swallowed.append("by some library")
        send(signal.SIGTERM)
    assert swallowed


def test_the_next_run_of_a_process_hears_signals_again():
    for _ in range(2):
        with pytest.raises(Interrupted), raised():
            send(signal.SIGINT)


def test_handlers_of_the_host_and_ignored_signals_are_left_alone():
    heard = []
    signal.signal(signal.SIGUSR1, lambda *_: heard.append("host"))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with raised(), raised():
            send(signal.SIGUSR1)
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert heard == ["host"]


def test_in_a_thread_nothing_changes():
    seen = []

    def work():
        with raised():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


@pytest.mark.parametrize(("command", "resumes"), [("extract", ", it resumes"), ("annotate", "")])
def test_a_command_that_a_signal_stops_says_so_in_one_sentence(command, resumes, monkeypatch):
    monkeypatch.setattr(Command, "answer", lambda *_: send(signal.SIGTERM))
    result = invoke([command])
    assert result.exit_code == 143
    assert result.output == f"stopped by SIGTERM: run the same command again{resumes}\n"
