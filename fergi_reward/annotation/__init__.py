"""Preference pairs without asking: what a viewer's face says of two pictures, where it says enough.

- `rules.py`: when a face says enough; `pairs.py`: the annotated pairs and how often they are right.
- `run.py`: from people who ranked to people who only looked; `dataset.py`: the table that trainers read.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.annotation.dataset import write_dataset as write_dataset
    from fergi_reward.annotation.pairs import Annotation as Annotation
    from fergi_reward.annotation.pairs import annotate as annotate
    from fergi_reward.annotation.rules import Rule as Rule
    from fergi_reward.annotation.rules import guaranteed_rule as guaranteed_rule
    from fergi_reward.annotation.rules import paper_rule as paper_rule

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Annotation": "pairs",
        "Rule": "rules",
        "annotate": "pairs",
        "guaranteed_rule": "rules",
        "paper_rule": "rules",
        "write_dataset": "dataset",
    },
)
