"""A participant who withdraws is deleted as by `fergi-reward forget`; operators learn what cannot be repaired."""

import sys
from dataclasses import dataclass

from fergi_reward.collect.settings import REACTIONS
from fergi_reward.collect.study import Study
from fergi_reward.core.terminal import one_line
from fergi_reward.privacy.forgetting import forget

TRIALS, JUDGEMENTS = ("attempts",), ("rankings", "pairs", "ratings")


@dataclass(frozen=True)
class Deleted:
    """What was deleted of a participant.

    Attributes:
        trials: How many showings of pictures.
        judgements: How many rankings, pairs and ratings.
    """

    trials: int
    judgements: int


def withdraw(study: Study, participant: str) -> Deleted:
    """Delete a participant from the database, the reactions and the tables, and name what was fitted with them.

    Raises:
        FergiRewardError: Something cannot be deleted; the rest is.
    """
    done = forget(participant, study.folder / REACTIONS, study.folder)
    for path in [*done.files.fits, *done.files.others]:
        study.note(f"{path} was made with somebody who withdrew: make it again without them, or delete it")
    for path, why in done.files.unread.items():
        study.note(f"{path} may hold somebody who withdrew, and cannot be read ({why})")
    if done.complaint:
        print(one_line(done.complaint), file=sys.stderr, flush=True)
    rows = done.rows
    return Deleted(*(sum(rows.get(table, 0) for table in tables) for tables in (TRIALS, JUDGEMENTS)))
