"""From the tables of a study to a calibration: which commands make it, and `calibrate now`, which runs them.

They run in processes of their own, one after the other, so that the server answers meanwhile and a fault of theirs ends
nothing else.
"""

import secrets
import shlex
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any, Literal

from fergi_reward.collect.export import Exported, export
from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.page_files import MEDIA_TYPES
from fergi_reward.collect.settings import REACTIONS
from fergi_reward.collect.tables import PICTURES, SCORES
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.option_types import as_text
from fergi_reward.files.ordinary_files import read_bytes
from fergi_reward.reactions.folder import ReactionFolder
from fergi_reward.scorers.options import SCORERS

CALIBRATION, REPORT = "calibration.json", "report"
MAX_BYTES = 1 << 26
LONGEST_MESSAGE = 4000
# A column of scores.csv that is a sum of others.
REWARD = "reward"
Words = Sequence[str]


def commands(options: CollectOptions, exported: Exported) -> list[Words]:
    """The commands that lead from what is written to a calibration, without `fergi-reward`; none without judgements."""
    folder, wanted = options.out, list(options.scorers or ())
    known = [name for name in exported.scores if name != REWARD]
    if not (exported.judgements["rankings"] or exported.judgements["pairs"]):
        return []
    scorers = wanted or known or list(SCORERS)
    calibrate = ["calibrate", *_judged(options, exported), "--scorers", ",".join(scorers)]
    calibrate += ["--out", str(folder / CALIBRATION)]
    if all(exported.scores.get(name) for name in scorers):
        return [calibrate]
    score = ["score", "--images", str(folder / PICTURES), "--scorers", ",".join(scorers), "--out", str(folder / SCORES)]
    if options.checkpoints:
        score += ["--checkpoints", as_text(options.checkpoints)]
    return [score, ["collect", "--export", "--out", str(folder)], calibrate]


def _judged(options: CollectOptions, exported: Exported) -> Words:
    """Where the judgements are, as `calibrate` asks for them."""
    folder = options.out
    if exported.judgements["pairs"]:
        return ["--judgements", str(folder / "pairs.csv"), "--scores", str(folder / SCORES)]
    judgements = str(folder / "judgements.csv")
    if exported.reactions:
        return ["--data", str(folder / REACTIONS), "--ratings", judgements]
    return ["--judgements", judgements, "--rating", "rank", "--image", "file"]


def shown(words: Words) -> str:
    """A command as one types it."""
    return shlex.join(["fergi-reward", *words])


class Calibrating:
    """The calibration that runs, or ran last.

    Args:
        options: Those of the study.
    """

    def __init__(self, options: CollectOptions) -> None:
        self._options = options
        self._state: Literal["none", "running", "done", "failed"] = "none"
        self._message, self._ticket = "", ""
        self._process: subprocess.Popen[str] | None = None
        self._is_ending = False

    @property
    def is_running(self) -> bool:
        """Whether one runs."""
        return self._state == "running"

    def state(self) -> dict[str, Any]:
        """What it says."""
        report = f"/report/{self._ticket}/report.html" if self._state == "done" else None
        return {"state": self._state, "message": self._message, "report": report}

    def begin(self) -> None:
        """Begin one."""
        self._state, self._message, self._ticket = "running", "writing the tables", secrets.token_urlsafe(16)
        threading.Thread(target=self._work, daemon=True).start()

    def end(self) -> None:
        """End the one that runs."""
        self._is_ending = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def report_file(self, ticket: str, name: str) -> tuple[bytes, str] | None:
        """A file of the report and its media type; None where the ticket is another one, or there is no such file."""
        path = self._options.out / REPORT / name
        is_known = self._state == "done" and secrets.compare_digest(ticket.encode(), self._ticket.encode())
        if not is_known or name.startswith(".") or "/" in name or path.suffix not in MEDIA_TYPES:
            return None
        try:
            return read_bytes(path, MAX_BYTES), MEDIA_TYPES[path.suffix]
        except OSError:
            return None

    def _work(self) -> None:
        try:
            self._message = self._calibrated()
            self._state = "done"
        except FergiRewardError as error:
            self._message, self._state = str(error)[-LONGEST_MESSAGE:], "failed"

    def _calibrated(self) -> str:
        """What the last command printed.

        Raises:
            FergiRewardError: One failed, nobody has judged pictures yet, or somebody withdrew meanwhile.
        """
        folder, stones = self._options.out, self._stones()
        done, said = commands(self._options, export(folder)), ""
        if not done:
            raise FergiRewardError("nobody has judged pictures yet")
        for words in done:
            self._message = shown(words)
            more = ["--report", str(folder / REPORT)] if words[0] == "calibrate" else []
            said = self._run([*words, *more])
        if self._stones() - stones:
            raise FergiRewardError(
                f"somebody withdrew meanwhile, whom {folder / CALIBRATION} and {folder / REPORT} may hold: calibrate "
                "again"
            )
        return said[-LONGEST_MESSAGE:]

    def _stones(self) -> set[str]:
        """The tombstones of all who withdrew so far."""
        return {path.name for path in ReactionFolder(self._options.out / REACTIONS).forgotten.glob("*")}

    def _run(self, words: Words) -> str:
        if self._is_ending:
            raise FergiRewardError("the server ends")
        command = [sys.executable, "-m", "fergi_reward", *words, "--quiet"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            self._process = process
            out, errors = process.communicate()
        if process.returncode:
            raise FergiRewardError(f"{shown(words)}: {errors.strip() or f'status {process.returncode}'}")
        return out
