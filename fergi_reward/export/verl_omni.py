"""verl-omni: `reward.reward_functions`, added up by its MultiVisualRewardManager."""

from fergi_reward.export.host import Host, HostWeights, OwnReward, number, text

# By term, the module and the function.
_OWN = {
    "pickscore": ("pkg://verl_omni.utils.reward_score.pickscore_reward", "compute_score_pickscore"),
    "hps_v2.1": ("pkg://verl_omni.utils.reward_score.hpsv2_reward", "compute_score_hpsv2"),
}
# For a reward that neither has.
_YOURS = "your_rewards.py"
_ADAPTER = ("pkg://fergi_reward.adapters.verl_omni", "compute_score")


def lines(found: HostWeights) -> list[str]:
    """The part `reward` of the YAML; a reward that verl-omni lacks is the adapter of one scorer."""
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
        path, name = _OWN[each.term.name] if each.own else _ADAPTER if each.is_scorer else (_YOURS, each.function)
        written += [
            f"    {each.function}:",
            f"      path: {path}",
            f"      name: {name}",
            f"      weight: {number(each.weight)}",
            "      required: true  # without it, a reward that fails counts as 0 and nothing stops",
        ]
        if each in found.lacking:
            written.append(f"      weights: {{{text(each.term.name)}: 1.0}}")
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
