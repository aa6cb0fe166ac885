"""The call conventions of other people's training scripts: one small class and one file per host.

Each takes a reward, any callable from pixels and prompts, and is called as its host calls. docs/ADAPTERS.md has the
lines to paste.
"""

from fergi_reward.adapters.alignprop import AlignPropLoss as AlignPropLoss
from fergi_reward.adapters.alignprop import VADERLoss as VADERLoss
from fergi_reward.adapters.ddpo_pytorch import DDPOPyTorchReward as DDPOPyTorchReward
from fergi_reward.adapters.diffusion_dpo import DiffusionDPOSelector as DiffusionDPOSelector
from fergi_reward.adapters.flow_factory import FlowFactoryReward as FlowFactoryReward
from fergi_reward.adapters.flow_grpo import FlowGRPOReward as FlowGRPOReward
from fergi_reward.adapters.imscore import ImscoreReward as ImscoreReward
from fergi_reward.adapters.refl import ReFLReward as ReFLReward
from fergi_reward.adapters.reno import ReNOLoss as ReNOLoss
from fergi_reward.adapters.trl import TRLAlignPropReward as TRLAlignPropReward
from fergi_reward.adapters.trl import TRLDDPOReward as TRLDDPOReward
from fergi_reward.adapters.verl_omni import VerlOmniReward as VerlOmniReward
