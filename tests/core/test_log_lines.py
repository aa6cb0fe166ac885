import io
import logging

from fergi_reward.core.log_lines import LOG_LINES
from fergi_reward.core.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def logged(file, monkeypatch):
    """What is on the file after a line was logged while a bar was drawn, or not drawn, on it."""
    monkeypatch.setattr("sys.stderr", file)
    with Progress(total=2, desc="sampling", mininterval=0) as bar:
        bar.refresh()
        LOG_LINES.handle(logging.makeLogRecord({"msg": "it is asked\n%s", "args": ("again",)}))
        return file.getvalue()


def test_on_a_terminal_a_line_takes_the_place_of_a_bar_which_is_drawn_again_below(monkeypatch):
    before, after = logged(Terminal(), monkeypatch).split("it is asked\\nagain\n")
    drawn, blank, line = before.split("\r")[-3:]
    assert "sampling" in drawn and not blank.strip() and not line
    assert "sampling" in after


def test_in_a_log_it_is_a_plain_line(monkeypatch):
    text = logged(io.StringIO(), monkeypatch)
    assert text.endswith("it is asked\\nagain\n") and "\r" not in text
