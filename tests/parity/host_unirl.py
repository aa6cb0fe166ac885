"""In UniRL's environment: its reward service makes the backend by `_target_`, and scores what a rollout drew.

python host_unirl.py: prints the largest differences from the reward itself, as JSON.
"""

import json

import torch
from hydra.utils import instantiate
from unirl.types.primitives import Image, Images, Texts
from unirl.types.reward import RewardRequest

from fergi_reward.adapters.host_options import host_reward
from fergi_reward.toy import emoji

KEYS = {
    "device": "cpu",
    "calibration": str(emoji.CALIBRATION),
    "checkpoints": {name: str(emoji.checkpoints()[name]) for name in emoji.SCORERS},
}
CONFIG = {
    "_target_": "unirl.reward.service.RewardService",
    "backend": {
        "_target_": "fergi_reward.adapters.unirl.UniRLReward",
        "batch_size": 2,
        "prompt_source": "original",
        **KEYS,
    },
}


def main() -> None:
    """Score images of two sizes by the service, and ask for a gradient."""
    draw = torch.Generator().manual_seed(0)
    sizes = [(32, 32), (32, 48), (32, 32)]
    pixels = [torch.randint(1, 255, (3, *size), generator=draw) / 255 for size in sizes]
    prompts = ["a red cat", "a blue house", "a green tree"]
    asked = RewardRequest(
        generated={"image": Images.from_list([Image(pixels=one) for one in pixels])},
        original_prompt=Texts(texts=prompts),
        generation_prompt=Texts(texts=["another"] * 3),
    )
    service, reward = instantiate(CONFIG), host_reward(KEYS)
    response = service.compute_rewards(asked)
    # UniRL hands pictures of 8 bits, cut off and not rounded.
    seen = [(one * 255).to(torch.uint8) / 255 for one in pixels]
    expected = [reward(one[None], prompt).total.item() for one, prompt in zip(seen, prompts, strict=True)]
    images = torch.stack(pixels[::2]).requires_grad_()
    (mine,) = torch.autograd.grad(reward(images, prompts[::2]).total.sum(), images)
    (theirs,) = torch.autograd.grad(service.backend.compute_rewards_differentiable(images, prompts[::2]).sum(), images)
    found = {
        "images": len(response.rewards),
        "largest difference": max(abs(a - b) for a, b in zip(response.rewards, expected, strict=True)),
        "of gradients": ((mine - theirs).abs().max() / mine.abs().max()).item(),
        "as it should be": response.successes == [True] * 3 and set(response.component_rewards) == set(reward.names),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
