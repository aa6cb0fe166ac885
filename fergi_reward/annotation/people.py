"""Who is annotated, and from whom is learned: on one scale, without restless people, and two groups for a promise."""

from fergi_reward.calibration.grid import unsteady_participants
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.table import PreferenceTable
from fergi_reward.reactions.source_map import SourceMap
from fergi_reward.reactions.table import ReactionTable


def on_one_scale(
    ranked: PreferenceTable, viewers: ReactionTable, source_map: SourceMap
) -> tuple[PreferenceTable, ReactionTable]:
    """Both sides, with what comes from the source of a map mapped.

    Raises:
        FergiRewardError: The map is for neither.
    """
    if ranked.au_source == source_map.from_source:
        ranked = ranked.mapped(source_map)
        if viewers.au_source == source_map.to_source:
            return ranked, viewers
    return ranked, viewers.mapped(source_map)


def unsteady(table: ReactionTable, unit: float) -> dict[str, str]:
    """Participants to leave out by the unit of their scale, and why; nobody where nobody has a baseline clip."""
    return unsteady_participants(table, unit) if table.has_baseline else {}


def calm(
    ranked: PreferenceTable, viewers: ReactionTable
) -> tuple[PreferenceTable, ReactionTable, dict[str, str], list[str]]:
    """Both tables without restless people, which viewers were left out and why, and what to know of it.

    Raises:
        FergiRewardError: No viewer is left.
    """
    excluded = unsteady(viewers, ranked.au_unit)
    kept = viewers.without_users(excluded)
    if not kept.users:
        raise FergiRewardError(f"none of the {len(viewers.users)} viewers can be annotated: all were left out")
    notes = [
        f"nobody {side} is left out as restless: there are no baseline clips of them"
        for side, table in (("to annotate", viewers), ("who ranked", ranked))
        if not table.has_baseline
    ]
    return ranked.without_users(unsteady(ranked, ranked.au_unit)), kept, excluded, notes


def others(ranked: PreferenceTable, viewers: ReactionTable) -> PreferenceTable:
    """People who ranked and will not be annotated.

    Raises:
        FergiRewardError: There are none.
    """
    rest = ranked.without_users(viewers.users)
    if not rest.users:
        raise FergiRewardError(
            f"a promise is about other people than those who ranked, and all {len(viewers.users)} viewers did: name "
            "the folder of the others with --reactions"
        )
    return rest
