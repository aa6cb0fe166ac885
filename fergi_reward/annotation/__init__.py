"""Preference pairs without asking: what a viewer's face, or scorers, say of two pictures, where they say enough.

- `signals.py`: what pairs are annotated from; `learned.py`: log-odds of pairs, from fits that never saw their person.
- `promise.py`: a threshold that keeps a promise about people not seen; `paper_rule.py`: the paper's, from AU4 alone.
- `run.py`: from people who ranked to people who only looked; `people.py`: who takes part.
- `pairs.py`, `outcome.py`: the annotated pairs, how often they are right; `dataset.py`: the table that trainers read.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.annotation.dataset import write_dataset as write_dataset
    from fergi_reward.annotation.outcome import Expected as Expected
    from fergi_reward.annotation.outcome import Outcome as Outcome
    from fergi_reward.annotation.outcome import Promised as Promised
    from fergi_reward.annotation.pairs import Annotation as Annotation
    from fergi_reward.annotation.paper_rule import run_paper_rule as run_paper_rule
    from fergi_reward.annotation.promise import promised_threshold as promised_threshold

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Annotation": "pairs",
        "Expected": "outcome",
        "Outcome": "outcome",
        "Promised": "outcome",
        "promised_threshold": "promise",
        "run_paper_rule": "paper_rule",
        "write_dataset": "dataset",
    },
)
