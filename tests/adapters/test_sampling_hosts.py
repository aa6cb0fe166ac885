"""Hosts that want numbers: each is called as its trainer calls it, and the answer goes through the trainer's hands."""

import asyncio
import inspect
import pickle
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

from fergi_reward.adapters import (
    DDPOPyTorchReward,
    DiffusionDPOSelector,
    FlowFactoryReward,
    FlowGRPOReward,
    TRLDDPOReward,
    VerlOmniReward,
)
from fergi_reward.core.errors import FergiRewardError

METADATA = ({}, {}, {})


def as_bytes(pixels):
    return (pixels * 255).round().to(torch.uint8)


def test_trl_ddpo(reward, pixels, prompts, expected):
    adapter = TRLDDPOReward(reward)
    batches = [[pixels, prompts, METADATA], [pixels.bfloat16(), prompts, METADATA]]
    rewards, metadata = zip(*[adapter(*batch) for batch in batches], strict=True)
    gathered = torch.cat([torch.as_tensor(one, device="cpu") for one in rewards]).cpu().numpy()
    assert gathered.shape == (6,) and gathered.dtype == np.float32
    np.testing.assert_allclose(gathered[:3], expected.total, atol=1e-5)
    torch.testing.assert_close(metadata[0], expected.terms)


@pytest.mark.parametrize("form", [lambda pixels: pixels, lambda pixels: as_bytes(pixels).permute(0, 2, 3, 1).numpy()])
def test_ddpo_pytorch(form, reward, pixels, prompts, expected):
    def fergi():  # what a user adds to rewards.py
        return DDPOPyTorchReward(reward)

    reward_fn = fergi()
    with ThreadPoolExecutor(max_workers=2) as executor:
        submitted = [executor.submit(reward_fn, form(pixels), prompts, METADATA) for _ in range(2)]
        rewards, metadata = submitted[0].result()
        gathered = torch.cat([torch.as_tensor(one.result()[0], device="cpu") for one in submitted]).cpu().numpy()
    assert isinstance(rewards, np.ndarray) and rewards.dtype == np.float32
    np.testing.assert_allclose(gathered, expected.total.repeat(2), atol=1e-5)
    assert {name: term.shape for name, term in metadata.items()} == dict.fromkeys(expected.terms, (3,))
    assert [f"{one:.2f}" for one in rewards] == [f"{one:.2f}" for one in expected.total]


def test_flow_grpo(reward, pixels, prompts, expected):
    reward_fn = FlowGRPOReward(reward)
    with ThreadPoolExecutor(max_workers=8) as executor:
        samples = [executor.submit(reward_fn, pixels, prompts, METADATA, only_strict=True) for _ in range(2)]
        answers = [sample.result()[0] for sample in samples]
    as_tensors = [{key: torch.as_tensor(value, device="cpu").float() for key, value in one.items()} for one in answers]
    collated = {key: torch.cat([one[key] for one in as_tensors], dim=0) for key in as_tensors[0]}
    assert set(collated) == {*expected.terms, "avg"}
    repeated = collated["avg"].unsqueeze(1).repeat(1, 4).cpu().numpy()
    np.testing.assert_allclose(repeated, expected.total.repeat(2)[:, None].repeat(1, 4), atol=1e-5)
    logged = {f"reward_{key}": value.cpu().numpy().mean() for key, value in collated.items()}
    assert logged["reward_pickscore"] == pytest.approx(expected.terms["pickscore"].mean().item(), abs=1e-4)
    # As one reward among others of multi_score, in older hosts (the fourth argument is only_strict) and in editing.
    assert [0.5 * score for score in reward_fn(pixels, prompts, METADATA, True)[0]["avg"]]
    assert reward_fn(pixels, prompts, METADATA, [None] * 3, only_strict=False)[0].keys() == collated.keys()


class PointwiseRewardModel(ABC):
    """What Flow-Factory's class does before the adapter's turn."""

    def __init__(self, config, accelerator):
        self.config, self.accelerator = config, accelerator
        self.device = accelerator.device if config.device == torch.device("cuda") else config.device
        self.dtype = config.dtype

    @abstractmethod
    def __call__(self, *args, **kwargs): ...


class FERGI(FlowFactoryReward, PointwiseRewardModel):
    """What a user writes."""

    def make_reward(self):
        return lambda pixels, prompts: pixels[:, 0].mean((1, 2)).to(self.dtype)


@dataclass
class RewardArguments:
    device: torch.device
    dtype: torch.dtype


@pytest.mark.parametrize("form", [list, lambda pixels: [pixels[0], pixels[1, :, :8], pixels[2]]])
def test_flow_factory(form, pixels, prompts):
    model = FERGI(config=RewardArguments(torch.device("cpu"), torch.bfloat16), accelerator=None)
    assert isinstance(model, PointwiseRewardModel) and model.use_tensor_inputs
    fields = inspect.signature(model.__call__).parameters
    # Flow-Factory moves all that is accepted to the device: whole latents, if anything were.
    assert {"prompt", "image"} <= set(fields) and all(one.kind is not one.VAR_KEYWORD for one in fields.values())
    images = form(pixels)
    output = model(prompt=list(prompts), image=images)
    rewards = torch.as_tensor(output.rewards if hasattr(output, "rewards") else output, device="cpu").float()
    assert rewards.tolist() == pytest.approx([image[0].mean().item() for image in images], rel=1e-2)
    with pytest.raises(FergiRewardError, match="no image: this reward is one of images"):
        model(prompt=list(prompts), video=[])


def test_verl_omni(reward, pixels, prompts, expected):
    compute_score = pickle.loads(pickle.dumps(VerlOmniReward(reward)))
    assert not inspect.iscoroutinefunction(compute_score)

    async def run_single(row):
        call = {"data_source": "d", "solution_image": as_bytes(pixels[row]), "ground_truth": prompts[row]}
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, lambda: compute_score(**call, extra_info={"num_turns": None}))

    async def run_all():
        return await asyncio.gather(*[run_single(row) for row in range(3)])

    results = asyncio.run(run_all())
    scores = torch.tensor([result.pop("score") for result in results], dtype=torch.float32).unsqueeze(-1)
    torch.testing.assert_close(scores, expected.total[:, None], atol=1e-5, rtol=1e-5)
    assert results[1] == pytest.approx({name: term[1].item() for name, term in expected.terms.items()}, abs=1e-4)
    with pytest.raises(FergiRewardError, match=r"one image \(3, height, width\) .* got \(1, 3, 3, 32, 32\)"):
        compute_score("d", as_bytes(pixels[None]), "a cat")


def test_diffusion_dpo(reward, pixels, prompts, expected):
    arrays = as_bytes(pixels).permute(0, 2, 3, 1).numpy()
    selector = DiffusionDPOSelector(reward)
    scores = selector.score([Image.fromarray(arrays[0]), Image.fromarray(arrays[2])], prompts[0])
    assert scores == pytest.approx([expected.total[0].item(), expected.total[2].item()], abs=1e-5)
    assert (scores[1] > scores[0]) is bool(expected.total[2] > expected.total[0])
    chances = selector.score([Image.fromarray(array) for array in arrays[::2]], prompts[0], softmax=True)
    assert chances[0] == pytest.approx(1 / (1 + np.exp(scores[1] - scores[0])), abs=1e-5)
