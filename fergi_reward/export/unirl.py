"""UniRL: the rewards of its reward service, averaged by their weights."""

from fergi_reward.export.host import Host, HostWeights, OwnReward, mapping, text


def lines(found: HostWeights) -> list[str]:
    """The part `reward` of the YAML, and what the service must be given."""
    names = ", ".join(text(each.name) for each in found.weights)
    written = [
        "reward:",
        "  _target_: unirl.reward.service.RewardService",
        "  backend:",
        "    _target_: unirl.reward.remote.RemoteRewardBackend",
        "    base_device: cpu",
        "    config:",
        "      _target_: unirl.reward.remote.RemoteRewardSpec",
        "      base_url: ${oc.env:REWARD_SERVICE_URL}",
        f"      required_rewards: [{names}]",
        f"      reward_weights: {mapping(found.weights)}",
        "      aggregation_method: weighted_sum",
    ]
    for each in found.lacking:
        written += [
            "",
            f"# The service lacks {each.name}: register a BaseScorer of that name in reward_service/scorers.",
            f"# Its score() returns {{{text(each.name)}: value}} for each value of",
            f'# load_scorer({text(each.term.name)}, device="cuda").score(images, prompts).tolist()',
        ]
    return written


_VERSION = "its params in the service's YAML must have"
HOST = Host(
    "unirl",
    {
        "image_reward": OwnReward("imagereward"),
        "pickscore": OwnReward("pickscore", 1 / 26),
        "hps_v2": OwnReward("hpsv2", remark=f"{_VERSION} hps_version: v2.0"),
        "hps_v2.1": OwnReward("hpsv2", remark=f"{_VERSION} hps_version: v2.1, the default"),
        "clip": OwnReward("clip", 100 / 30),
    },
    "github.com/Tencent-Hunyuan/UniRL, unirl/reward/remote.py and unirl-reward-service/reward_service/scorers",
    "It adds weight * reward, divides by the sum of the weights, and standardises that among the images of a prompt.",
    lines,
    needs_positive_sum=True,
)
