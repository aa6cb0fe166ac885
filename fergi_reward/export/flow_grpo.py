"""flow_grpo: `config.reward_fn`, a mapping from the rewards of `multi_score` to their weights."""

from fergi_reward.export.host import Host, HostWeights, OwnReward, number, text


def lines(found: HostWeights) -> list[str]:
    """The lines for a function of `config/grpo.py`, and the rewards to add to `flow_grpo/rewards.py`."""
    written = ["config.reward_fn = {"]
    written += [f"    {text(each.name)}: {number(each.weight)}," for each in found.weights]
    written.append("}")
    for each in found.lacking:
        written += [
            "",
            "",
            "# In flow_grpo/rewards.py, and in `score_functions` of multi_score the line",
            f"#     {text(each.name)}: {each.function},",
            f"def {each.function}(device):",
            "    from fergi_reward import load_scorer",
            "    from fergi_reward.adapters import DDPOPyTorchReward",
            "",
            f"    return DDPOPyTorchReward(load_scorer({text(each.term.name)}, device=device))",
        ]
    return written


HOST = Host(
    "flow_grpo",
    {
        "image_reward": OwnReward("imagereward"),
        "pickscore": OwnReward("pickscore", 1 / 26),
        "hps_v2.1": OwnReward("hpsv2_score"),
        "clip": OwnReward("clipscore", 100 / 30),
        "aesthetic": OwnReward("aesthetic"),
    },
    "github.com/yifan123/flow_grpo, flow_grpo/rewards.py and the scorers that it imports",
    "It adds weight * reward, and standardises the sum among the images of a prompt.",
    lines,
)
