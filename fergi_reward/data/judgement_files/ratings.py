"""Ratings and ranks: each row has a prompt, a picture, and what one rater, or a panel, said of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.judgement_files.columns import Columns, filled, in_one_spelling, unit_of_group
from fergi_reward.data.judgements import SEVERAL, Judgements, from_ratings, names_of

# The column of what is compared with one another: a rater's ratings, those of one ranking, of one group.
TOGETHER = "\0together"


def rated(
    columns: Columns,
    *,
    higher_is_better: bool,
    sitting: str | None = None,
    reactions: Sequence[str] = (),
    au_source: str = "none",
) -> Judgements:
    """All pairs of pictures of a prompt that one rater, in one ranking, rated or ranked.

    Args:
        columns: Roles `prompt`, `image`, `rating` or `rank`, and by choice `rater` and `group`.
        higher_is_better: Whether it is ratings, else ranks.
        sitting: The column that tells apart several rankings of one prompt.
        reactions: As in `from_ratings`; so is `au_source`.
        au_source: What measured them.

    Raises:
        FergiRewardError: A column is missing, or a value cannot be used.
    """
    prompt, image, value = columns.need("prompt", "image", "rating" if higher_is_better else "rank")
    rater, group = columns.find("rater"), columns.find("group")
    apart = [name for name in (rater, group, sitting) if name]
    is_plain, table = apart in ([], [rater]), columns.table.assign(**{image: in_one_spelling(columns.table[image])})
    if not is_plain:
        texts = pd.DataFrame({name: filled(table[name], name) for name in apart})
        number = texts.groupby(apart, sort=False).ngroup() + 1  # joined names alone may be those of two
        names = texts[apart[0]].str.cat([texts[name] for name in apart[1:]], sep=", ")
        table = table.assign(**{TOGETHER: names + " (" + number.astype(str) + ")"})
    if group and not table.drop_duplicates([prompt, image, TOGETHER, value]).duplicated([prompt, TOGETHER]).any():
        by = f" by one {rater}" if rater and rater != group else ""
        raise FergiRewardError(
            f"no two pictures of one {prompt} were judged{by} within one {group}, so there are no pairs: name a "
            "--group that is the same for pictures that are compared"
        )
    judgements = from_ratings(
        table,
        prompt=prompt,
        image=image,
        rating=value,
        rater=rater if is_plain else TOGETHER,
        higher_is_better=higher_is_better,
        reactions=reactions,
        au_source=au_source,
    )
    return judgements if is_plain else _grouped(judgements, table, columns.taken)


def across_groups(columns: Columns, sitting: str | None) -> int:
    """How many pairs of pictures that one rater judged for one prompt are not compared, since they are in two groups.

    Raises:
        FergiRewardError: All of them are.
    """
    rater, group = columns.find("rater"), columns.find("group")
    keys = [name for name in (columns.find("prompt"), rater, sitting) if name]
    if not group or group in keys or not columns.find("prompt"):
        return 0

    def pairs(names: list[str]) -> int:
        sizes = columns.table.groupby(names, sort=False).size()
        return int((sizes * (sizes - 1) // 2).sum())

    compared = pairs([*keys, group])
    if not compared and pairs(keys):
        raise FergiRewardError(
            f"each picture of a prompt has another {group}, so nothing is compared: name a --group that is the same "
            "for pictures that are compared"
        )
    return pairs(keys) - compared


def _grouped(judgements: Judgements, table: pd.DataFrame, taken: Mapping[str, str]) -> Judgements:
    """The same pairs, of groups that are named, else of raters where there are several, else of prompts."""
    rater, group = taken.get("rater"), taken.get("group")
    unit, column = (unit_of_group(taken), group) if group else ("rater", rater)
    pictures, varying = judgements.pictures.drop(columns=TOGETHER), dict(judgements.varying)
    varying.pop(TOGETHER, None)
    if column and table[column].nunique() >= SEVERAL:
        of = table.drop_duplicates(TOGETHER).set_index(TOGETHER)[column].astype(str)
        pairs = judgements.pairs.assign(group=judgements.pairs["group"].map(of))
    elif group:
        raise FergiRewardError(
            f"--group {group} has {table[group].nunique()} different values, of which one after the other is left out: "
            f"name a column with at least {SEVERAL}"
        )
    else:
        unit = "prompt"
        prompts = pictures["prompt"].astype(str).to_numpy()
        pairs = judgements.pairs.assign(group=prompts[judgements.pairs["better"]])
    raters = names_of(table[rater]) if rater else ()
    return replace(
        judgements,
        pictures=pictures,
        pairs=pairs,
        unit=unit,
        varying=varying,
        raters=raters,
        grouped_by=group if group and unit == "group" else "",
    )
