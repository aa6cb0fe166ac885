"""Who was forgotten: a salted hash a person, so that no later or running `extract` brings them back.

A pseudonym is not in the file, and whoever guesses one can check it there: the file is for its owner alone.
"""

import datetime
import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fergi_reward.errors import FergiRewardError
from fergi_reward.files import write_json

SCHEMA = 1


@dataclass(frozen=True)
class Tombstone:
    """A person who was forgotten.

    Attributes:
        digest: Of the salt and the pseudonym.
        on: The day.
        sources: What had measured them, by which fits on their reactions are still found.
    """

    digest: str
    on: str
    sources: Sequence[str]


class Tombstones:
    """The people who were forgotten in a folder.

    Args:
        path: The file; it need not be there yet.

    Raises:
        FergiRewardError: It cannot be read. Nothing is measured then, since somebody might come back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if record["schema"] != SCHEMA:
                raise ValueError(f"schema {record['schema']}, this version reads {SCHEMA}")
            self._salt, self._stones = str(record["salt"]), [Tombstone(**stone) for stone in record["people"]]
        except FileNotFoundError:
            self._salt, self._stones = secrets.token_hex(16), []
        except Exception as error:
            raise FergiRewardError(
                f"{path} cannot be read ({error}), and says who was forgotten: restore it from a copy; if nobody was, "
                "delete it"
            ) from error

    def of(self, user: str) -> Tombstone | None:
        """The tombstone of a person; None where they were not forgotten."""
        digest = self._digest(user)
        return next((stone for stone in self._stones if stone.digest == digest), None)

    def add(self, user: str, sources: Sequence[str]) -> None:
        """Note that a person is forgotten."""
        if old := self.of(user):
            new = replace(old, sources=sorted({*old.sources, *sources}))
        else:
            new = Tombstone(self._digest(user), datetime.date.today().isoformat(), sorted(set(sources)))
        if new != old:
            self._write([stone for stone in self._stones if stone is not old] + [new])

    def lift(self, user: str) -> None:
        """Let a person come back who agreed again."""
        if old := self.of(user):
            self._write([stone for stone in self._stones if stone is not old])

    def _write(self, stones: list[Tombstone]) -> None:
        self._stones = stones
        people = [{"digest": stone.digest, "on": stone.on, "sources": list(stone.sources)} for stone in stones]
        write_json(self._path, {"schema": SCHEMA, "salt": self._salt, "people": people}, private=True)

    def _digest(self, user: str) -> str:
        return hashlib.sha256(f"{self._salt}\n{user}".encode(errors="surrogatepass")).hexdigest()
