"""The report of `fergi-reward annotate`: what is annotated from what, how right it is, whether confidence is right."""

from fergi_reward.annotation.outcome import Outcome, summary, values
from fergi_reward.annotation.pairs import counts
from fergi_reward.data.table import PreferenceTable
from fergi_reward.evaluation.report_builder import COUNT, Field, Judged, build_report, coverage_line, table
from fergi_reward.evaluation.run_record import RunRecord
from fergi_reward.reactions.table import ReactionTable
from fergi_reward.report.record import Report, Section, Table


def annotation_report(
    outcome: Outcome, ranked: PreferenceTable, viewers: ReactionTable, *, command: str, seed: int
) -> Report:
    """The report.

    Args:
        outcome: What was annotated.
        ranked: Those who ranked.
        viewers: Those who were annotated.
        command: The command that made it.
        seed: Its seed.
    """
    fingerprints = {"those who ranked": ranked.fingerprint(), "those who were annotated": viewers.fingerprint()}
    return build_report(
        RunRecord(command=command, seed=seed),
        "Pairs annotated without asking",
        [f"{line[0].upper()}{line[1:]}".rstrip(".") + "." for line in summary(outcome).splitlines() if line],
        fingerprints,
        values(outcome),
        first=[Section("What the pairs are from", items=[signals_table(outcome)])],
        models=_judged(outcome),
    )


def signals_table(outcome: Outcome) -> Table:
    """One row per set of signals."""
    annotated = counts(outcome.annotation.pairs)
    rows = [(name, annotated.get(name, 0), count) for name, count in outcome.annotation.signals.items()]
    fields: list[Field[tuple[str, int, int]]] = [
        Field("from", lambda row: row[0]),
        Field("annotated", lambda row: row[1], COUNT),
        Field("pairs", lambda row: row[2], COUNT),
        Field("share", lambda row: row[1] / row[2], "{:.1%}"),
    ]
    return table("Annotated pairs, by what is known of both of their pictures.", rows, fields)


def _judged(outcome: Outcome) -> list[Judged]:
    """How right the annotated pairs are by the viewers' own ranks, where these are known."""
    if outcome.result is None:
        return []
    return [Judged(coverage_line("annotated pairs", outcome.result), reliability=outcome.result.reliability)]
