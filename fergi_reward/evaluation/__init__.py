"""How often rewards agree with people, and whether a tuned model is better, with what is needed to trust it.

- `preferences.py`: rewards against people; `fergi_margins.py`, `benchmark_margins.py`: margins of recorded data and of
  `benchmarks/`, with `margins.py`, `ranked_pairs.py`, `totals.py`, `picture_scores.py`, `named_calibrations.py`.
- `judged_scores.py`, `judged_report.py`: judgements without faces and the scores that `calibrate` weighs, with
  `scored_pictures.py` (are the pictures those that were scored?) and `rater_agreement.py`.
- `compare_models.py`: draws, scores and compares; `options.py`: the options of these commands.
- `models.py`: tuned models against their base, with `models_verdict.py`, `compared_model.py`, `model_pictures.py`,
  `picture_diversity.py`, `side_by_side.py`; `same_function.py`: a judge that was trained on under another name.
- `preferences_result.py`, `models_result.py`: what they find, as records, with `run_record.py`.
- `report_builder.py`: lays out the reports that `preferences_report.py`, `models_report.py` and `calibration_report.py`
  describe, with `sentences.py`.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.evaluation.benchmarks import read_benchmark as read_benchmark
    from fergi_reward.evaluation.benchmarks.rankings import Benchmark as Benchmark
    from fergi_reward.evaluation.benchmarks.rankings import Ranking as Ranking
    from fergi_reward.evaluation.models_result import ModelsResult as ModelsResult
    from fergi_reward.evaluation.preferences_result import PreferenceResult as PreferenceResult

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Benchmark": "benchmarks.rankings",
        "ModelsResult": "models_result",
        "PreferenceResult": "preferences_result",
        "Ranking": "benchmarks.rankings",
        "read_benchmark": "benchmarks",
    },
)
