"""`calibrate now` of the operator's page: `fergi-reward calibrate` in a process of its own, with the study's tables."""

import secrets
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any, Literal

from fergi_reward.collect.page_files import MEDIA_TYPES
from fergi_reward.collect.study import REACTIONS, Study
from fergi_reward.collect.tables import Exported
from fergi_reward.files.ordinary_files import read_bytes

REPORT = "report"
MAX_BYTES = 1 << 26
LONGEST_MESSAGE = 2000


def next_command(study: Study, exported: Exported) -> str | None:
    """The command that makes a calibration of the study; None where nothing was judged."""
    words = calibrate_words(study, exported)
    return None if words is None else f"fergi-reward {' '.join(words)}"


def calibrate_words(study: Study, exported: Exported) -> Sequence[str] | None:
    """The words of `fergi-reward calibrate` for what the study has; None where nothing was judged."""
    folder = study.folder
    out = ["--out", f"{folder / 'calibration.json'}"]
    if study.options.task == "pairs":
        return ["calibrate", "--judgements", f"{folder / 'pairs.csv'}", *out] if exported.judgements["pairs"] else None
    if not exported.judgements["rankings"]:
        return None
    if study.options.camera and exported.reactions:
        return ["calibrate", "--data", f"{folder / REACTIONS}", "--ratings", f"{folder / 'judgements.csv'}", *out]
    return ["calibrate", "--judgements", f"{folder / 'judgements.csv'}", "--rating", "rank", "--image", "file", *out]


class Calibrating:
    """The calibration that runs, or ran last.

    Args:
        study: The study.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._state: Literal["none", "running", "done", "failed"] = "none"
        self._message, self._ticket = "", ""
        self._process: subprocess.Popen[str] | None = None

    @property
    def is_running(self) -> bool:
        """Whether one runs."""
        return self._state == "running"

    def state(self) -> dict[str, Any]:
        """What it says."""
        report = f"/report/{self._ticket}/report.html" if self._state == "done" else None
        return {"state": self._state, "message": self._message, "report": report}

    def begin(self, exported: Exported) -> None:
        """Begin one, of tables that were written just now."""
        words = calibrate_words(self._study, exported)
        if words is None:
            self._state, self._message = "failed", "nobody has judged pictures yet"
            return
        self._state, self._message, self._ticket = "running", "", secrets.token_urlsafe(16)
        report = ["--report", f"{self._study.folder / REPORT}"]
        threading.Thread(target=self._run, args=([*words, *report],), daemon=True).start()

    def end(self) -> None:
        """End the one that runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def report_file(self, ticket: str, name: str) -> tuple[bytes, str] | None:
        """A file of the report and its media type; None where the ticket is another one, or there is no such file."""
        path = self._study.folder / REPORT / name
        is_known = self._state == "done" and secrets.compare_digest(ticket.encode(), self._ticket.encode())
        if not is_known or name.startswith(".") or "/" in name or path.suffix not in MEDIA_TYPES:
            return None
        try:
            return read_bytes(path, MAX_BYTES), MEDIA_TYPES[path.suffix]
        except OSError:
            return None

    def _run(self, words: Sequence[str]) -> None:
        command = [sys.executable, "-m", "fergi_reward", *words]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, errors = self._process.communicate()
        self._message = (out if self._process.returncode == 0 else errors)[-LONGEST_MESSAGE:]
        self._state = "done" if self._process.returncode == 0 else "failed"
