import io

from fergi_reward.core import progress
from fergi_reward.core.progress import Progress, quiet


def log_file(monkeypatch):
    """What bars write where there is no terminal, and a clock that the test sets."""
    clock, file = [1000.0], io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(progress._log, "last_line", 0.0)
    return clock, file


def test_a_log_gets_at_most_one_line_a_minute_of_all_bars_together(monkeypatch):
    clock, file = log_file(monkeypatch)
    for number in range(4):
        clock[0] = 1000.0 + 59 * number
        with Progress(total=3, desc=f"bar {number}", mininterval=0) as bar:
            bar.refresh()
            bar.update(3)
            bar.refresh()
    lines = file.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == ["bar 0", "bar 2"]
    assert "\r" not in file.getvalue()


def test_quiet_prints_nothing(monkeypatch):
    _, file = log_file(monkeypatch)
    with quiet():
        assert list(Progress(range(3))) == [0, 1, 2]
    assert file.getvalue() == ""


def test_what_is_soon_done_leaves_no_line_in_a_log(monkeypatch):
    _, file = log_file(monkeypatch)
    assert list(Progress(range(3), mininterval=0)) == [0, 1, 2]
    assert file.getvalue() == ""
