"""verl-omni: `reward.reward_functions`, added up by its MultiVisualRewardManager."""

from fergi_reward.export.host import Host, HostWeights, OwnReward, number, text

# By term, the module and the function.
_OWN = {
    "pickscore": ("pkg://verl_omni.utils.reward_score.pickscore_reward", "compute_score_pickscore"),
    "hps_v2.1": ("pkg://verl_omni.utils.reward_score.hpsv2_reward", "compute_score_hpsv2"),
}


def lines(found: HostWeights) -> list[str]:
    """The part `reward` of the YAML, and functions for the rewards that verl-omni lacks."""
    written = [
        "reward:",
        "  custom_reward_function:",
        "    path: pkg://verl_omni.reward_loop.reward_manager.multi",
        "    name: _multi_reward_placeholder",
        "  reward_manager:",
        "    name: MultiVisualRewardManager",
        "    module:",
        "      path: pkg://verl_omni.reward_loop.reward_manager",
        "  reward_functions:",
    ]
    for each in found.weights:
        path, name = _OWN[each.term.name] if each.own else ("fergi_rewards.py", each.function)
        written += [
            f"    {each.function}:",
            f"      path: {path}",
            f"      name: {name}",
            f"      weight: {number(each.weight)}",
            "      required: true  # without it, a reward that fails counts as 0 and nothing stops",
        ]
    if found.lacking:
        written += ["", "# fergi_rewards.py, in the folder where verl-omni starts:"]
        written += ["# from fergi_reward import load_scorer", "# from fergi_reward.adapters import VerlOmniReward", "#"]
        written += [
            f'# {each.function} = VerlOmniReward(load_scorer({text(each.term.name)}, device="cuda"))'
            for each in found.lacking
        ]
    return written


HOST = Host(
    "verl-omni",
    {
        "pickscore": OwnReward("pickscore", 1 / 26),
        "hps_v2.1": OwnReward("hpsv2"),
    },
    "github.com/verl-project/verl-omni, reward_loop/reward_manager/multi.py and utils/reward_score",
    "It adds weight * reward; its estimators compare the sums of the images of a prompt.",
    lines,
    needs_positive_sum=True,
)
