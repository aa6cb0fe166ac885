"""Scoring images by the thousand: streamed, resumable; a bad image is listed and nothing else is lost.

- `run.py`: the command `score`; `job.py`: what it shares with `evaluate`; `manifest.py`: the rows.
- `scoring.py`: rows to scores in a store; `batch_scores.py`: full batches through scorers; `results.py`: the table.
- `ray_engine.py`: the same on a Ray cluster.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.bulk.job import ScoringOptions as ScoringOptions
    from fergi_reward.bulk.manifest import read_manifest as read_manifest

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "ScoringOptions": "job",
        "read_manifest": "manifest",
    },
)
