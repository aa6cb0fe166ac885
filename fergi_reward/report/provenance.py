"""Versions and machine for a report: what a reader needs to weigh the figures, and nothing that names a person."""

from collections.abc import Mapping

from fergi_reward.core.machine import machine, versions
from fergi_reward.core.places import without_folders
from fergi_reward.report.record import Provenance


def provenance(
    command: str, seed: int, fingerprints: Mapping[str, str], checkpoints: Mapping[str, str] | None = None
) -> Provenance:
    """The provenance of figures that this process made.

    Args:
        command: The command line; the folders that its paths lead through are left out.
        seed: Seed of all that was random.
        fingerprints: SHA-256 of what the figures were made from.
        checkpoints: Checkpoints of the scorers that ran, by name.
    """
    scorers = {f"scorer {name}": checkpoint for name, checkpoint in (checkpoints or {}).items()}
    return Provenance(without_folders(command), seed, dict(fingerprints), versions() | scorers, machine())
