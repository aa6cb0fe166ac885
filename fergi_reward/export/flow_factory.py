"""Flow-Factory: a YAML list of rewards, each with its weight."""

from fergi_reward.export.host import Host, HostWeights, OwnReward, number, text


def lines(found: HostWeights) -> list[str]:
    """The parts `train` and `rewards` of the YAML, and classes for the rewards that Flow-Factory lacks."""
    written = ["train:", f"  advantage_aggregation: {'gdpo' if found.by_group else 'sum'}", "rewards:"]
    for each in found.weights:
        model = f"fergi_rewards.{each.function}" if each in found.lacking else each.name
        written += [
            f"  - name: {text(each.name)}",
            f"    reward_model: {text(model)}",
            f"    weight: {number(each.weight)}",
        ]
    if found.lacking:
        written += [
            "",
            "# fergi_rewards.py, in a folder of PYTHONPATH:",
            *(f"# {line}".rstrip() for line in _module(found)),
        ]
    return written


def _module(found: HostWeights) -> list[str]:
    written = [
        "from fergi_reward import load_scorer",
        "from fergi_reward.adapters import FlowFactoryReward",
        "from flow_factory.rewards import PointwiseRewardModel",
    ]
    for each in found.lacking:
        written += [
            "",
            f"class {each.function}(FlowFactoryReward, PointwiseRewardModel):",
            "    def make_reward(self):",
            f"        return load_scorer({text(each.term.name)}, device=self.device, dtype=self.dtype)",
        ]
    return written


HOST = Host(
    "flow-factory",
    {
        "pickscore": OwnReward("pickscore", 1 / 26),
        "clip": OwnReward("clip"),
    },
    "github.com/X-GenGroup/Flow-Factory, src/flow_factory/rewards and advantage/advantage_processor.py",
    "It adds weight * reward, and standardises the sum among the images of a prompt.",
    lines,
)
