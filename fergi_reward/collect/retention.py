"""When the retention of a participant ends, all of them is deleted: at each start, and by `collect --expire`."""

import datetime
from contextlib import closing
from pathlib import Path

from fergi_reward.collect.settings import REACTIONS, read_settings
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.privacy.forgetting import forget
from fergi_reward.privacy.study_database import NAME, connected


def expire(folder: Path) -> list[str]:
    """Delete the participants of a study whose last day is over.

    Returns:
        A sentence for each, and for what holds them and cannot be repaired.

    Raises:
        FergiRewardError: There is no study, or somebody cannot be deleted.
    """
    read_settings(folder)
    today = datetime.datetime.now(datetime.UTC).date()
    with closing(connected(folder / NAME)) as connection:
        rows = connection.execute(
            "SELECT participant, expires FROM participants WHERE expires < ?", (f"{today}",)
        ).fetchall()
    said, faults = list[str](), list[str]()
    for row in rows:
        done = forget(row["participant"], folder / REACTIONS, folder)
        said.append(f"the retention of {row['participant']} ended on {row['expires']}: deleted")
        said += [f"made with them: {path}; make it again without them, or delete it" for path in done.files.fits]
        faults += [done.complaint] if done.complaint else []
    if faults:
        raise FergiRewardError("; ".join(faults))
    return said
