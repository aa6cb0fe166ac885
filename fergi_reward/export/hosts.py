"""The hosts by name."""

from fergi_reward.export import flow_factory, flow_grpo, numpy_lines, trl, unirl, verl_omni

HOSTS = {module.HOST.name: module.HOST for module in (flow_grpo, flow_factory, verl_omni, unirl, trl, numpy_lines)}
