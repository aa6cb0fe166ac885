"""Where the reaction comes from: recorded, or predicted where no viewer looks.

- `face.py`: what a reward asks; `recorded.py`, `predicted.py`: the two answers; `old_arguments.py`: until version 0.2.
- `predictor.py`: the fitted model on disk; `heads.py`: its layers; `viewings.py`: what it is fitted on.
- `fitting.py`, `judging.py`, `run.py`: fitting it, and how well it does on viewers and prompts that it has not seen.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.faces.face import Face as Face
    from fergi_reward.faces.predicted import Predicted as Predicted
    from fergi_reward.faces.predictor import ReactionPredictor as ReactionPredictor
    from fergi_reward.faces.recorded import Recorded as Recorded
    from fergi_reward.faces.run import fit_predictor as fit_predictor

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Face": "face",
        "Predicted": "predicted",
        "ReactionPredictor": "predictor",
        "Recorded": "recorded",
        "fit_predictor": "run",
    },
)
