"""People who took part in a study and did not agree that models are trained: no model is trained on them."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reactions.folder import ReactionFolder
from fergi_reward.reactions.table import ReactionTable

Table = TypeVar("Table", bound=ReactionTable)


def for_training(table: Table, folder: Path | str | None) -> tuple[Table, list[str]]:
    """A table without people who did not agree to the training of models, and a sentence about them.

    Nothing of them is left, not even in the unit of the table.

    Args:
        table: What was read.
        folder: From where. Reactions of a study of `collect` say who agreed, in `training.csv`; somebody whom that does
            not name did not agree. All people of a folder without it stay.

    Raises:
        FergiRewardError: `training.csv` cannot be read, or nobody is left.
    """
    agreed = None if folder is None else ReactionFolder(folder).training()
    if agreed is None or not (refused := [user for user in table.users if not agreed.get(user)]):
        return table, []
    kept = table.without_users(refused)
    if not kept.users:
        raise FergiRewardError(
            f"none of the {len(refused)} users of {folder} agreed to the training of models (training.csv): use the "
            "reactions of people who did"
        )
    rows = f"{len(table.images) - len(kept.images)} of {len(table.images)} rows"
    note = (
        f"{len(refused)} of {len(table.users)} users of {folder} are left out, with {rows}: they did not agree to the "
        "training of models"
    )
    return replace(kept, au_unit=0.0, left_out=[*kept.left_out, note]), [note]
