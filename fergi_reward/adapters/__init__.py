"""The call conventions of other people's training scripts: one small class per host, one file per host.

Each takes a reward, any callable from pixels and prompts, and is called as its host calls. docs/hosts has the
lines to paste.

- `adapter.py`: what they share; `host_pixels.py`: images of hosts; `group_normalization.py`: rewards within groups.
- `reward_guard.py`, `guard_callback.py`: held-out judges in a host's loop.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.adapters.alignprop import AlignPropLoss as AlignPropLoss
    from fergi_reward.adapters.alignprop import VADERLoss as VADERLoss
    from fergi_reward.adapters.ddpo_pytorch import DDPOPyTorchReward as DDPOPyTorchReward
    from fergi_reward.adapters.diffusion_dpo import DiffusionDPOSelector as DiffusionDPOSelector
    from fergi_reward.adapters.flow_factory import FlowFactoryReward as FlowFactoryReward
    from fergi_reward.adapters.flow_grpo import FlowGRPOReward as FlowGRPOReward
    from fergi_reward.adapters.group_normalization import group_normalized as group_normalized
    from fergi_reward.adapters.guard_callback import GuardCallback as GuardCallback
    from fergi_reward.adapters.imscore import ImscoreReward as ImscoreReward
    from fergi_reward.adapters.refl import ReFLReward as ReFLReward
    from fergi_reward.adapters.reno import ReNOLoss as ReNOLoss
    from fergi_reward.adapters.reward_guard import RewardGuard as RewardGuard
    from fergi_reward.adapters.trl import TRLAlignPropReward as TRLAlignPropReward
    from fergi_reward.adapters.trl import TRLDDPOReward as TRLDDPOReward
    from fergi_reward.adapters.verl_omni import VerlOmniReward as VerlOmniReward

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "AlignPropLoss": "alignprop",
        "DDPOPyTorchReward": "ddpo_pytorch",
        "DiffusionDPOSelector": "diffusion_dpo",
        "FlowFactoryReward": "flow_factory",
        "FlowGRPOReward": "flow_grpo",
        "GuardCallback": "guard_callback",
        "ImscoreReward": "imscore",
        "ReFLReward": "refl",
        "ReNOLoss": "reno",
        "RewardGuard": "reward_guard",
        "TRLAlignPropReward": "trl",
        "TRLDDPOReward": "trl",
        "VADERLoss": "alignprop",
        "VerlOmniReward": "verl_omni",
        "group_normalized": "group_normalization",
    },
)
