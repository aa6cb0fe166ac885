"""Fine-tuning of diffusion models: one file per trainer, and what they share.

To a trainer a reward is only a callable; `program.py` and `held_out.py` alone know of scorers and calibrations.

- `ddpo.py`, `flow_grpo.py`, `nft.py`, `reward_backprop.py`, `diffusion_dpo.py`: the trainers; `registry.py`: by name.
- `ddpo_config.py` and its like: their options, without torch; `rollout_config.py`: what three of them share.
- `program.py`: a run from its options (`options.py`, `config.py`); `preflight.py`, `dry_run.py` with
  `meta_autocast.py`: what is checked and counted before it.
- `loop.py`: what each trainer calls to run, on `run.py`, `tracking.py`, `saving.py`, `checkpoints.py`,
  `optimisation.py`, `ema.py`, `judging.py`, `fixed_pictures.py` and `grids.py`; `curve.py`: the reward over a run.
- `model.py`, `weights.py`, `lora.py`: what is trained; `model_card.py`, `history.py`, `identity.py`: its record.
- `rollout.py`, `shares.py`, `processes.py`, `advantages.py`, `losses.py`: parts of the algorithms; `guards.py`,
  `fall.py`, `held_out.py`: judges.
- `pairs.py`, `pair_batches.py`, `row_order.py`: preference pairs.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.trainers.config import TrainerConfig as TrainerConfig
    from fergi_reward.trainers.ddpo import DDPOTrainer as DDPOTrainer
    from fergi_reward.trainers.ddpo_config import DDPOConfig as DDPOConfig
    from fergi_reward.trainers.diffusion_dpo import DiffusionDPOTrainer as DiffusionDPOTrainer
    from fergi_reward.trainers.diffusion_dpo_config import DiffusionDPOConfig as DiffusionDPOConfig
    from fergi_reward.trainers.flow_grpo import FlowGRPOTrainer as FlowGRPOTrainer
    from fergi_reward.trainers.flow_grpo_config import FlowGRPOConfig as FlowGRPOConfig
    from fergi_reward.trainers.nft import NFTTrainer as NFTTrainer
    from fergi_reward.trainers.nft_config import NFTConfig as NFTConfig
    from fergi_reward.trainers.pairs import PairTable as PairTable
    from fergi_reward.trainers.reward_backprop import RewardBackpropTrainer as RewardBackpropTrainer
    from fergi_reward.trainers.reward_backprop_config import RewardBackpropConfig as RewardBackpropConfig

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "DDPOConfig": "ddpo_config",
        "DDPOTrainer": "ddpo",
        "DiffusionDPOConfig": "diffusion_dpo_config",
        "DiffusionDPOTrainer": "diffusion_dpo",
        "FlowGRPOConfig": "flow_grpo_config",
        "FlowGRPOTrainer": "flow_grpo",
        "NFTConfig": "nft_config",
        "NFTTrainer": "nft",
        "PairTable": "pairs",
        "RewardBackpropConfig": "reward_backprop_config",
        "RewardBackpropTrainer": "reward_backprop",
        "TrainerConfig": "config",
    },
)
