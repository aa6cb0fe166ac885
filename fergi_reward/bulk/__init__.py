"""Scoring images by the thousand: streamed, resumable; a bad image is listed and nothing else is lost.

- `run.py`: the command `score`; `job.py`: what it shares with `evaluate`; `manifest.py`: the rows.
- `scoring.py`: rows to scores in a store; `batch_scores.py`: full batches through scorers; `results.py`: the table.
- `ray_engine.py`: the same on a Ray cluster.
- `best_of.py`: the command `best-of`, the best of several pictures per prompt; `options.py`: options of both.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.bulk.manifest import read_manifest as read_manifest
    from fergi_reward.bulk.options import ScoringOptions as ScoringOptions

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "ScoringOptions": "options",
        "read_manifest": "manifest",
    },
)
