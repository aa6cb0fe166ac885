"""Flow-Factory: a YAML list of rewards, each with its weight."""

from fergi_reward.export.host import Host, HostWeights, OwnReward, number, text


def lines(found: HostWeights) -> list[str]:
    """The parts `train` and `rewards` of the YAML; a reward that Flow-Factory lacks is the adapter of one scorer."""
    written = ["train:", f"  advantage_aggregation: {'gdpo' if found.by_group else 'sum'}", "rewards:"]
    for each in found.weights:
        model = "fergi_reward.adapters.flow_factory.PointwiseReward" if each in found.lacking else each.name
        written += [
            f"  - name: {text(each.name)}",
            f"    reward_model: {text(model)}",
            f"    weight: {number(each.weight)}",
        ]
        if each in found.lacking:
            written.append(f"    weights: {text(f'{each.term.name}=1')}")
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
