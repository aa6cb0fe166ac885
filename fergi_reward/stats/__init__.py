"""Statistics of pairs and pictures: arrays in, numbers out.

- `held_out.py`: margins on people that a model was not fitted on, and the one record of how it did.
- `folds.py`, `nested.py`: cross-validation by participant; `newton.py`: models of pairs; `davidson.py`: ties;
  `sensitivity.py`: raters who differ.
- `intervals.py`: the bootstrap; `mcnemar.py`: do two models differ; `agreement.py`: how far they agree;
  `one_signal.py`: whether two scores are one.
- `coverage.py`: accuracy against coverage; `reliability.py`: log-loss and calibration of probabilities.
- `diversity.py`: how different pictures of one prompt are.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.stats.agreement import margin_correlation as margin_correlation
    from fergi_reward.stats.agreement import same_order as same_order
    from fergi_reward.stats.coverage import coverage_curve as coverage_curve
    from fergi_reward.stats.diversity import mean_pairwise_distance as mean_pairwise_distance
    from fergi_reward.stats.folds import leave_one_out as leave_one_out
    from fergi_reward.stats.held_out import HeldOut as HeldOut
    from fergi_reward.stats.held_out import HeldOutResult as HeldOutResult
    from fergi_reward.stats.held_out import evaluate_held_out as evaluate_held_out
    from fergi_reward.stats.intervals import bootstrap_interval as bootstrap_interval
    from fergi_reward.stats.reliability import log_loss as log_loss

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "HeldOut": "held_out",
        "HeldOutResult": "held_out",
        "bootstrap_interval": "intervals",
        "coverage_curve": "coverage",
        "evaluate_held_out": "held_out",
        "leave_one_out": "folds",
        "log_loss": "reliability",
        "margin_correlation": "agreement",
        "mean_pairwise_distance": "diversity",
        "same_order": "agreement",
    },
)
