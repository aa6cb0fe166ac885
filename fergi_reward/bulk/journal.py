"""What was scored so far, kept beside the output, so that a killed run goes on where it stopped.

Every scored batch is appended before the next one starts; each process of each run has a file of its own, so that the
number of processes may change in between.
"""

import heapq
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from fergi_reward.errors import FergiRewardError
from fergi_reward.files import write_json

Entry = dict[str, Any]  # a row's scores, or why it has none
Entries = list[tuple[int, Entry]]  # of a batch, by the numbers of its rows


class Journal:
    """What was scored so far, in a folder beside the output: files of a process and run, a line a row.

    Args:
        folder: The journal's folder.
        options: What the scores depend on; a journal of other options is not gone on with, unless it is empty.

    Raises:
        FergiRewardError: The folder holds a journal of other options.
    """

    def __init__(self, folder: Path, options: Mapping[str, object]) -> None:
        self.folder = folder
        noted = folder / "options.json"
        if noted.exists() and json.loads(noted.read_text(encoding="utf-8")) != options and self.done():
            raise FergiRewardError(
                f"{folder} holds scores of a run with other options: delete it, or give another --out"
            )
        write_json(noted, options)

    def done(self) -> set[int]:
        """The numbers of the rows that are scored, or cannot be."""
        return {number for file in self._files() for number, _ in _entries(file)}

    @contextmanager
    def appending(self, rank: int) -> Iterator[Callable[[Entries], None]]:
        """A function that appends a batch; batches may come in any order, each file is in that of the numbers."""
        with ExitStack() as opened:
            files: list[TextIO] = []
            last: list[int] = []

            def append(entries: Entries) -> None:
                first = entries[0][0]
                place = next((place for place, number in enumerate(last) if number < first), len(files))
                if place == len(files):
                    files.append(opened.enter_context(self.append_to(rank)))
                    last.append(first)
                files[place].writelines(json.dumps(entry) + "\n" for entry in entries)
                files[place].flush()
                last[place] = entries[-1][0]

            yield append

    def append_to(self, rank: int) -> TextIO:
        """A new file of this run and process."""
        run = 1 + max((int(path.name.split("-")[0]) for path in self._files()), default=0)
        return (self.folder / f"{run:04d}-{rank:04d}.jsonl").open("w", encoding="utf-8")

    def merged(self) -> Iterator[tuple[int, Entry]]:
        """All entries by row number; each file is in that order already, so that nothing is held."""
        last = -1
        for number, entry in heapq.merge(*(_entries(file) for file in self._files()), key=lambda item: item[0]):
            if number != last:  # two processes that were started at once may have scored one row twice
                yield number, entry
            last = number

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*-*.jsonl"))


def _entries(file: Path) -> Iterator[tuple[int, Entry]]:
    """The entries of one file; the last line of a run that was killed may be half a line."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                number, entry = json.loads(line)
                yield number, entry
