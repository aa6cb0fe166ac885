"""Fitting the weights of the reward to preferences, and saying honestly how well they do.

- `calibration.py`: the record that is saved; `by_hand.py`: weights that somebody chose; `weighed.py`: the weighted sum.
- `protocols.py`: runs a protocol; `registry.py`: protocols by name; `outcome.py`: what each must give.
- `bradley_terry.py`: the project's own; `grid.py` (`paper-v1`), `paper_v3.py` with `faunet.py`: as published.
- `judged_weights.py`: weights from any human judgement, by the pairs of `judged_pairs.py` and, for each set of terms,
  `judged_model.py`; `rater_sensitivity.py`: raters who differ; `from_arrays.py`: of arrays.
- `hyperparameters.py`: what cross-validation chooses; `options.py`: options that name weights.
- `signals.py`: what scores and action units measure.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.calibration.calibration import Calibration as Calibration
    from fergi_reward.calibration.calibration import Fit as Fit
    from fergi_reward.calibration.calibration import Term as Term
    from fergi_reward.calibration.outcome import Effect as Effect
    from fergi_reward.calibration.outcome import Outcome as Outcome
    from fergi_reward.calibration.protocols import Evaluation as Evaluation
    from fergi_reward.calibration.protocols import calibrate as calibrate

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Calibration": "calibration",
        "Effect": "outcome",
        "Evaluation": "protocols",
        "Fit": "calibration",
        "Outcome": "outcome",
        "Term": "calibration",
        "calibrate": "protocols",
    },
)
