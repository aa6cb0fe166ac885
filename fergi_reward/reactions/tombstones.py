"""Who was forgotten: a salted hash per person, so that no later or running `extract` brings them back.

A pseudonym is not in the files, and whoever guesses one can check it there: they are for their owner alone. Each person
has a file, so that a damaged one hinders nobody else's being forgotten.
"""

import datetime
import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import write_json
from fergi_reward.files.json_records import checked, read_record

SCHEMA = 1
FIELDS = {"salt": "text", "digest": "text", "on": "text", "sources": "texts"}
_ADVICE = (
    "it says of somebody that they were forgotten: restore it from a copy, or delete it and forget that person again"
)


@dataclass(frozen=True)
class Tombstone:
    """A person who was forgotten.

    Attributes:
        salt: Random.
        digest: Digest of the salt and the pseudonym.
        on: The day.
        sources: What had measured them, by which fits on their reactions are still found.
    """

    salt: str
    digest: str
    on: str
    sources: Sequence[str]


class Tombstones:
    """The people who were forgotten in a folder.

    Args:
        place: Where their files are; it need not be there yet.

    Attributes:
        damage: What is wrong with files that cannot be read, a sentence each.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._stones = dict[Path, Tombstone]()
        self.damage = list[str]()
        try:
            paths = sorted(path for path in place.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return
        except OSError as error:
            self.damage.append(f"{place} cannot be read ({error.strerror}), {_ADVICE}")
            return
        for path in paths:
            try:
                record = read_record(path, "the tombstone", SCHEMA, _ADVICE)
                del record["schema"]
                self._stones[path] = Tombstone(**checked(record, FIELDS, str(path), _ADVICE))
            except FergiRewardError as error:
                self.damage.append(str(error))

    def of(self, user: str) -> Tombstone | None:
        """The tombstone of a person; None where they were not forgotten."""
        return self._stones[path] if (path := self._path(user)) else None

    def add(self, user: str, sources: Sequence[str]) -> None:
        """Note that a person is forgotten.

        Raises:
            FergiRewardError: It cannot be written.
        """
        path, salt = self._path(user), secrets.token_hex(16)
        old = self._stones[path] if path else Tombstone(salt, _digest(salt, user), f"{datetime.date.today()}", ())
        new = Tombstone(old.salt, old.digest, old.on, sorted({*old.sources, *sources}))
        path = path or self._place / f"{old.digest[:32]}.json"
        if self._stones.get(path) != new:
            with suppress(OSError):  # the writing says it
                self._place.mkdir(mode=0o700, exist_ok=True)
            write_json(path, {"schema": SCHEMA, **asdict(new)}, private=True)
            self._stones[path] = new

    def lift(self, user: str) -> None:
        """Let a person come back who agreed again."""
        while path := self._path(user):
            path.unlink()
            del self._stones[path]

    def _path(self, user: str) -> Path | None:
        return next((path for path, stone in self._stones.items() if _digest(stone.salt, user) == stone.digest), None)


def _digest(salt: str, user: str) -> str:
    return hashlib.sha256(f"{salt}\n{user}".encode(errors="surrogatepass")).hexdigest()
