"""Hosts that get a reward by their YAML alone: the fragments of docs/hosts, called as each host does."""

import asyncio
import inspect
import pickle
import re
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
import yaml
from PIL import Image

from fergi_reward.adapters import VerlOmniReward, flow_factory, unirl, verl_omni
from fergi_reward.adapters.host_options import host_reward
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.toy import emoji

PAGES = Path(__file__).parents[2] / "docs" / "hosts"
SCORERS = list(emoji.SCORERS)


@pytest.fixture(scope="session")
def keys():
    """What a YAML would say of the emoji world's reward."""
    checkpoints = {name: str(emoji.checkpoints()[name]) for name in SCORERS}
    return {"calibration": str(emoji.CALIBRATION), "checkpoints": checkpoints, "device": "cpu"}


def fragment(host):
    """The fragment for the reward in the host's process, on its page."""
    text = (PAGES / f"{host}.md").read_text(encoding="utf-8")
    found = re.search(r"^\*\*In the process\*\*.*?^```yaml\n(.*?)^```$", text, re.M | re.S)
    return yaml.safe_load(found[1])


def as_bytes(pixels):
    return (pixels * 255).round().to(torch.uint8)


# --- verl-omni -------------------------------------------------------------------------------------------------------


class MultiRewards:
    """What verl-omni's `MultiVisualRewardManager` does with `reward.reward_functions`."""

    def __init__(self, config):
        self.subs = []
        for entry in config["reward"]["reward_functions"].values():
            scheme, _, module = entry["path"].partition("://")
            assert scheme == "pkg"
            function = getattr(import_module(module.replace("/", ".")), entry["name"])
            extra = {key: value for key, value in entry.items() if key not in ("path", "name", "weight", "required")}
            self.subs.append((function, float(entry.get("weight", 1.0)), extra))

    async def run_single(self, image, prompt):
        total, logged = 0.0, {}
        for function, weight, extra in self.subs:
            known = {"data_source": "d", "solution_image": image, "ground_truth": prompt, "extra_info": {}}
            known |= {"reward_router_address": None, "reward_model_tokenizer": None, "model_name": None} | extra
            parameters = inspect.signature(function).parameters
            if all(one.kind is not one.VAR_KEYWORD for one in parameters.values()):
                known = {key: value for key, value in known.items() if key in parameters}
            assert inspect.iscoroutinefunction(function)
            result = await function(**known)
            logged |= {key: value for key, value in result.items() if key != "score"}
            total += weight * float(result["score"])
        return total, logged


def test_verl_omni_awaits_the_reward_of_its_yaml_and_its_loop_stays_free(keys, pixels, prompts, expected):
    config = fragment("VERL_OMNI")
    (entry,) = config["reward"]["reward_functions"].values()
    entry.update(keys, weight=0.5, uncertainty_penalty="0.0")
    manager, ticks = MultiRewards(config), []
    asyncio.run(manager.run_single(as_bytes(pixels[0]), prompts[0]))  # loads
    passes = []
    (adapter,) = (one for name, one in verl_omni._SHARED.items() if str(emoji.CALIBRATION) in name)

    def count(*_):
        passes.append(1)
        if len(passes) == 1:
            time.sleep(0.2)

    hook = adapter.reward.scorers[0].towers()[0].register_forward_pre_hook(count)

    async def tick():
        while True:
            ticks.append(len(passes))
            await asyncio.sleep(0.002)

    async def run_all():
        ticking = asyncio.create_task(tick())
        found = await asyncio.gather(
            *[manager.run_single(as_bytes(pixels[row % 3]), prompts[row % 3]) for row in range(6)]
        )
        ticking.cancel()
        return found

    try:
        found = asyncio.run(run_all())
    finally:
        hook.remove()
    assert [total for total, _ in found] == pytest.approx(
        [0.5 * expected.total[row % 3].item() for row in range(6)], abs=1e-5
    )
    assert found[1][1] == pytest.approx({name: term[1].item() for name, term in expected.terms.items()}, abs=1e-4)
    assert len(passes) <= 3 and ticks.count(1) > 10  # while the first pass ran


def test_verl_omni_refuses_a_key_that_is_no_option(keys, pixels):
    entry = {**keys, "scorer": "pickscore"}
    with pytest.raises(FergiRewardError, match=r"no option scorer: choose from weights, standardise, extra, scorers"):
        asyncio.run(verl_omni.compute_score("d", as_bytes(pixels[0]), "a cat", **entry))
    with pytest.raises(FergiRewardError, match=r"frames is 0, must be"):
        asyncio.run(verl_omni.compute_score("d", as_bytes(pixels[0]), "a cat", frames=0, **keys))


def test_a_video_has_the_mean_reward_of_frames_at_equal_distances():
    adapter = VerlOmniReward(lambda pixels, prompts: pixels.mean((1, 2, 3)), frames=3)
    video = torch.arange(9, dtype=torch.uint8).square().reshape(9, 1, 1, 1).expand(9, 3, 4, 4)
    assert adapter("d", video, "a cat")["score"] == pytest.approx((0 + 16 + 64) / 3 / 255)
    assert adapter("d", video[:2], "a cat")["score"] == pytest.approx((0 + 1) / 2 / 255)
    assert adapter("d", video[4], "a cat")["score"] == pytest.approx(16 / 255)
    with pytest.raises(FergiRewardError, match=r"got \(1, 9, 3, 4, 4\)"):
        adapter("d", video[None], "a cat")


# --- Flow-Factory ----------------------------------------------------------------------------------------------------


class BaseRewardModel(ABC):
    """What Flow-Factory's classes do before the adapter's turn."""

    required_fields = ()
    use_tensor_inputs = False

    def __init__(self, config, accelerator):
        self.config, self.accelerator = config, accelerator
        self.device = accelerator.device if config.device == torch.device("cuda") else config.device
        self.dtype = config.dtype

    @abstractmethod
    def __call__(self, *args, **kwargs): ...


@dataclass
class RewardArguments:
    """A row of `rewards` in the YAML; keys that it does not know are `extra_kwargs`."""

    name: str = "default"
    reward_model: str = ""
    weight: float = 1.0
    dtype: object = "bfloat16"
    device: object = "cuda"
    batch_size: int = 16
    extra_kwargs: dict = field(default_factory=dict)

    @classmethod
    def from_dict(cls, row):
        known = {key: value for key, value in row.items() if key in cls.__dataclass_fields__}
        made = cls(**known, extra_kwargs={key: value for key, value in row.items() if key not in known})
        made.dtype, made.device = getattr(torch, made.dtype), torch.device(made.device)
        # Models are shared by this key.
        hash((made.reward_model, tuple(sorted(made.extra_kwargs.items()))))
        return made


@pytest.fixture
def flow_factory_host(monkeypatch):
    rewards = ModuleType("flow_factory.rewards")
    rewards.PointwiseRewardModel = type("PointwiseRewardModel", (BaseRewardModel,), {})
    rewards.GroupwiseRewardModel = type("GroupwiseRewardModel", (BaseRewardModel,), {})
    monkeypatch.setitem(sys.modules, "flow_factory", ModuleType("flow_factory"))
    monkeypatch.setitem(sys.modules, "flow_factory.rewards", rewards)
    yield rewards
    for name in ("PointwiseReward", "GroupwiseReward"):
        flow_factory.__dict__.pop(name, None)


@pytest.mark.parametrize("kind", ["Pointwise", "Groupwise"])
def test_flow_factory_needs_a_dotted_path_alone(kind, flow_factory_host, keys, pixels, prompts, expected):
    (row,) = fragment("FLOW_FACTORY")["rewards"]
    assert row["reward_model"] == "fergi_reward.adapters.flow_factory.PointwiseReward"
    checkpoints = ",".join(f"{name}={folder}" for name, folder in keys["checkpoints"].items())
    row |= {"reward_model": row["reward_model"].replace("Pointwise", kind), "dtype": "float32", "device": "cpu"}
    row |= {"calibration": keys["calibration"], "checkpoints": checkpoints, "scorers": ",".join(SCORERS)}
    config = RewardArguments.from_dict(row)
    module, _, name = config.reward_model.rpartition(".")
    model = getattr(import_module(module), name)(config=config, accelerator=None)
    assert isinstance(model, getattr(flow_factory_host, f"{kind}RewardModel")) and model.use_tensor_inputs
    output = model(prompt=list(prompts), image=list(pixels))
    assert torch.as_tensor(output.rewards).tolist() == pytest.approx(expected.total.tolist(), abs=1e-5)
    assert type(model) is getattr(import_module(module), name)  # made once
    assert pickle.loads(pickle.dumps(type(model))) is type(model)


# --- UniRL -----------------------------------------------------------------------------------------------------------


@dataclass
class RewardResponse:
    rewards: list
    component_rewards: dict
    successes: list
    errors: list
    compute_time: float


class LocalRewardBackend(ABC):
    """What UniRL's class does before and after the adapter's turn."""

    def __init__(
        self,
        model_name=None,
        device="cuda",
        dtype=torch.float16,
        batch_size=8,
        prompt_source="generation",
        **model_kwargs,
    ):
        self.device, self.dtype, self.batch_size = device, dtype, batch_size
        self.prompt_source, self.model_kwargs = prompt_source, dict(model_kwargs)
        self._load_model()

    def prompts(self, request):
        prompt = request.original_prompt if self.prompt_source == "original" else request.generation_prompt
        return [] if prompt is None else list(prompt.texts)

    @abstractmethod
    def _load_model(self): ...

    @abstractmethod
    def _compute_model_rewards(self, request): ...


@pytest.fixture
def unirl_host(monkeypatch):
    for name in ("unirl", "unirl.reward", "unirl.reward.local", "unirl.reward.local.base", "unirl.types"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "unirl.types.reward", ModuleType("unirl.types.reward"))
    sys.modules["unirl.reward.local.base"].LocalRewardBackend = LocalRewardBackend
    sys.modules["unirl.types.reward"].RewardResponse = RewardResponse
    yield
    unirl.__dict__.pop("UniRLReward", None)


def request(pixels, prompts):
    images = [Image.fromarray(as_bytes(one).permute(1, 2, 0).numpy()) for one in pixels]
    texts = SimpleNamespace(texts=list(prompts))
    return SimpleNamespace(images=images, generation_prompt=texts, original_prompt=texts)


def test_unirl_makes_the_backend_that_its_yaml_targets(unirl_host, keys, pixels, prompts, expected):
    node = fragment("UNIRL")["reward"]["backend"] | keys | {"batch_size": 2}
    module, _, name = node.pop("_target_").rpartition(".")
    backend = getattr(import_module(module), name)(**node)
    assert isinstance(backend, LocalRewardBackend)
    assert backend._compute_model_rewards(request(pixels, prompts)) == pytest.approx(expected.total.tolist(), abs=1e-5)
    response = backend.compute_rewards(request(pixels, prompts))
    assert response.rewards == pytest.approx(expected.total.tolist(), abs=1e-5)
    assert response.successes == [True] * 3 and response.errors == [None] * 3
    terms = {name: term.tolist() for name, term in expected.terms.items()}
    assert {name: pytest.approx(values, abs=1e-4) for name, values in response.component_rewards.items()} == terms
    images = pixels.clone().clamp(0.1, 0.9).requires_grad_()
    backend.compute_rewards_differentiable(images, list(prompts), records=None).sum().backward()
    assert images.grad.abs().sum() > 0
    backend.offload(), backend.onload()
    with pytest.raises(FergiRewardError, match="3 images and 2 prompts"):
        backend.compute_rewards(request(pixels, prompts[:2]))


def test_an_image_that_unirl_cannot_have_scored_is_nan_with_its_reason(unirl_host, keys, pixels, prompts):
    backend = unirl.UniRLReward(**keys)
    backend._adapter.reward = lambda pixels, prompts: pixels.mean((1, 2, 3)).log()
    black = pixels.clone()
    black[1] = 0
    response = backend.compute_rewards(request(black, prompts))
    assert response.successes == [True, False, True]
    assert response.errors[::2] == [None, None] and "-inf for image 0" in response.errors[1]
    rewards = backend._compute_model_rewards(request(black, prompts))
    assert [value == value for value in rewards] == [True, False, True]
    assert rewards[0] == pytest.approx(pixels[0].mean().log().item(), abs=1e-5)


# --- All -------------------------------------------------------------------------------------------------------------


def test_without_the_host_the_class_says_what_to_install(monkeypatch):
    for host in ("flow_factory", "unirl"):
        monkeypatch.setitem(sys.modules, host, None)
    with pytest.raises(
        FergiRewardError, match=r"flow_factory\.PointwiseReward is a subclass of .* install flow_factory"
    ):
        flow_factory.PointwiseReward  # noqa: B018
    with pytest.raises(FergiRewardError, match=r"unirl\.UniRLReward is a subclass of .* install unirl in"):
        unirl.UniRLReward  # noqa: B018
    assert not hasattr(flow_factory, "Pointwise") and not hasattr(unirl, "Reward")


def test_lists_and_mappings_of_yaml_may_be_texts_or_of_omegaconf(keys):
    omegaconf = pytest.importorskip("omegaconf")
    node = omegaconf.OmegaConf.create(
        {"weights": {"pickscore": 0.5, "clip": 0.25}, "device": "cpu", "dtype": "bfloat16"}
    )
    as_text = {"weights": "pickscore=0.5,clip=0.25", "device": "cpu", "dtype": "bfloat16"}
    for given in (node, as_text):
        assert host_reward(given).describe()["terms"] == {
            "pickscore": {"weight": 0.5, "mean": 0.0, "std": 1.0},
            "clip": {"weight": 0.25, "mean": 0.0, "std": 1.0},
        }
    with pytest.raises(FergiRewardError, match="dtype is 'fp16', must be"):
        host_reward({"dtype": "fp16"})
