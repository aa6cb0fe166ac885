"""The options that say how a table of judgements is read; nothing heavy is imported."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fergi_reward.core.options import Options, option
from fergi_reward.data.options import AU_SOURCE

ROLES = ("prompt", "image", "rater", "rating", "rank", "preference", "weight", "group")


@dataclass(frozen=True, kw_only=True)
class JudgementOptions(Options):
    """Which file of judgements, and what its columns are where their names do not say it."""

    judgements: str | None = option(
        None,
        "Judgements without faces: a table (.csv, .parquet, .json, .jsonl), a folder of one, or a benchmark's name, "
        "for which --data is its place.",
        metavar="PLACE",
    )
    kind: Literal["ratings", "ranks", "pairs", "rankings"] | None = option(
        None, "What the table holds. [default: by its columns]"
    )
    prompt: str | None = option(None, "Column of the prompts.", metavar="COLUMN")
    image: str | None = option(None, "Column of the pictures; two for pairs.", metavar="COLUMN[,COLUMN]")
    rater: str | None = option(None, "Column of the raters.", metavar="COLUMN")
    rating: str | None = option(None, "Column of the ratings, where higher is better.", metavar="COLUMN")
    rank: str | None = option(None, "Column of the ranks, where lower is better.", metavar="COLUMN")
    preference: str | None = option(None, "Column that says which of two pictures is preferred.", metavar="COLUMN")
    weight: str | None = option(None, "Column of the weights or counts of pairs.", metavar="COLUMN")
    group: str | None = option(
        None,
        "Column of what is left out in turn. [default: the rater of three or more, else the prompt]",
        metavar="COLUMN",
    )
    scores: Path | None = option(
        None, "A second table with scores, which has the column image, and prompt where an image has several."
    )

    aus: Sequence[str] | None = option(
        None, "Columns of action units of the rater's face, such as au4,au12, which are weighed as well."
    )
    au_source: str | None = option(None, AU_SOURCE)

    @property
    def named(self) -> dict[str, str]:
        """Columns by role, as far as they are named."""
        return {role: getattr(self, role) for role in ROLES if getattr(self, role)}

    def problems(self) -> list[str]:
        """Columns of no table, or of two roles."""
        found = [f"--{role} and --{other} are both the column {name}" for role, other, name in self._shared()]
        if self.judgements is None:
            given = [*self.named, *(name for name in ("kind", "scores") if getattr(self, name))]
            found += [f"--{name} is for --judgements" for name in given]
        else:
            if self.rating and self.rank:
                found.append("--rating and --rank are two judgements: give one")
            if bool(self.aus) != bool(self.au_source):
                found.append("--aus and --au-source, which says what measured them, are given together")
        return found

    def _shared(self) -> list[tuple[str, str, str]]:
        named = list(self.named.items())
        return [
            (role, other, name)
            for place, (role, name) in enumerate(named)
            for other, again in named[place + 1 :]
            if name == again and {role, other} != {"prompt", "group"} and {role, other} != {"rater", "group"}
        ]
