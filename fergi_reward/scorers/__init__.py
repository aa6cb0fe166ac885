"""Scorers: models that say how much people like an image made for a prompt.

- One file per scorer: `image_reward.py`, `pickscore.py`, `hps.py`, `clip.py`, `aesthetic.py`; `base.py`: their base.
- Without towers: `ocr.py`, text in pictures; `vlm_judge.py`, a model on a server, asked by `chat_endpoint.py`.
- `foreign.py`: anything that is called with pixels and prompts; `registry.py`: scorers by name.
- `scorer_set.py`: the scorers of a reward, loaded at first use; `loading.py`, `checkpoints.py`: weights.
- `clip_tokenizer.py`, `tokens.py`: prompts as numbers; `options.py`.
- `true_float32.py`, `cpu_kernels.py`, `fastest_dtype.py`: arithmetic.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.scorers.aesthetic import AestheticScorer as AestheticScorer
    from fergi_reward.scorers.base import TowerScorer as TowerScorer
    from fergi_reward.scorers.clip import CLIPScorer as CLIPScorer
    from fergi_reward.scorers.foreign import ForeignScorer as ForeignScorer
    from fergi_reward.scorers.foreign import Scorer as Scorer
    from fergi_reward.scorers.foreign import as_scorer as as_scorer
    from fergi_reward.scorers.hps import HPSv2Scorer as HPSv2Scorer
    from fergi_reward.scorers.image_reward import ImageRewardScorer as ImageRewardScorer
    from fergi_reward.scorers.pickscore import PickScorer as PickScorer
    from fergi_reward.scorers.registry import load_scorer as load_scorer
    from fergi_reward.scorers.registry import register_scorer as register_scorer

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "AestheticScorer": "aesthetic",
        "CLIPScorer": "clip",
        "ForeignScorer": "foreign",
        "HPSv2Scorer": "hps",
        "ImageRewardScorer": "image_reward",
        "PickScorer": "pickscore",
        "Scorer": "foreign",
        "TowerScorer": "base",
        "as_scorer": "foreign",
        "load_scorer": "registry",
        "register_scorer": "registry",
    },
)
