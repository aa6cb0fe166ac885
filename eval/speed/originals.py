"""The original packages, each in its own environment (`make parity` builds them), asked over a pipe."""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from fergi_reward.core.errors import FergiRewardError

ROOT = Path(__file__).parents[2]
NAMES = ("image_reward", "hps", "pickscore")
# By scorer here, the original that it follows.
OF_SCORERS = {"image_reward": "image_reward", "pickscore": "pickscore", "hps_v2": "hps"}


@dataclass(frozen=True)
class Answer:
    """Scores, None where the original crashes, and the seconds they took."""

    scores: list[float | None]
    seconds: float


def is_built(name: str) -> bool:
    """Whether the environment of an original is there."""
    return _python(name).exists()


class Original:
    """A running original: a context manager that ends it.

    Args:
        name: One of NAMES.
        folder: See tests/parity/original_<name>.py.

    Attributes:
        process: Its number.

    Raises:
        FergiRewardError: Its environment has not been built, or it does not start.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        python = _python(name)
        if not python.exists():
            raise FergiRewardError(f"there is no {python}: run `make parity` first")
        program = ROOT / "tests" / "parity" / f"original_{name}.py"
        self._process = subprocess.Popen(
            [python, "-W", "ignore", program, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.process = self._process.pid
        self._read()

    @classmethod
    @contextmanager
    def with_random_weights(cls, name: str, folder: Path) -> Iterator[Self]:
        """A running original from which the folder's checkpoint is hidden: only its small files are there."""
        with tempfile.TemporaryDirectory() as bare:
            for path in folder.iterdir():
                if path.suffix in (".json", ".txt"):
                    (Path(bare) / path.name).symlink_to(path.resolve())
            with cls(name, Path(bare)) as running:
                yield running

    def score(self, images: Sequence[Path], prompt: str) -> Answer:
        """Ask for the scores of images with one prompt."""
        question = {"images": [str(image) for image in images], "prompt": prompt}
        print(json.dumps(question), file=_pipe(self._process.stdin), flush=True)
        return Answer(**self._read())

    def _read(self) -> dict[str, Any]:
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise FergiRewardError(f"the original {self._name} ended: what it said stands above")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _pipe(self._process.stdin).close()
        self._process.wait()


def _python(name: str) -> Path:
    return ROOT / ".parity" / name / "bin" / "python"


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
