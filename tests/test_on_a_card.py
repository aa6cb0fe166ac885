"""The combined reward and what is built on it on a GPU, here a pretended one: one device throughout, and few waits."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fergi_reward import adapters
from fergi_reward.adapters.group_normalization import group_normalized
from fergi_reward.best_of import best_of_n
from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.diffusion.rendering import render
from fergi_reward.faces.predicted import Predicted
from fergi_reward.faces.recorded import Recorded
from fergi_reward.images import normalize
from fergi_reward.prompt_reward import PromptReward
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.base import TowerScorer
from fergi_reward.toy import emoji, tiny
from tests.pretended_gpu import Card, Wait, pretended_gpu

SCORERS = (Term("pickscore", 3.0, 4.0, 0.6), Term("hps_v2", 0.2, 0.1, 0.5))
FITS = (Fit("without", SCORERS), Fit("with", (*SCORERS, Term("au4", -0.2, 0.1, 0.3, 0.4))))
CALIBRATION = Calibration("test", "test", FITS, {}, "0", "", 0)
PROMPTS = ["a red cat", "a blue dog", "a red cat"]
IDS = ["one", "unknown", "two"]
BYTES = np.random.default_rng(0).integers(0, 255, (3, 40, 40, 3), dtype=np.uint8)
PICTURES = [Image.fromarray(values) for values in BYTES]
PIXELS = torch.from_numpy(BYTES).permute(0, 3, 1, 2) / 255


Towers = dict[str, list[TowerScorer]]


@pytest.fixture(scope="module")
def towers() -> Towers:
    """The scorers by device."""
    with pretended_gpu():
        return {device: [tiny.pickscore().to(device), tiny.hps().to(device)] for device in ("cpu", "cuda")}


@pytest.fixture
def reward(towers: Towers, predictor_for: Callable) -> Callable[..., CombinedReward]:
    """A function that makes a reward on a device, with a face."""

    def make(place: str, face: str = "none", **options: object) -> CombinedReward:
        faces = {
            "none": lambda: None,
            "recorded": lambda: Recorded({"one": {"au4": 1.0}, "two": {"au4": 0.2}}, "test"),
            "predicted": lambda: Predicted(predictor_for(towers["cpu"][0])),
        }
        return CombinedReward(towers[place], CALIBRATION, face=faces[face](), **options)

    return make


def places(waits: list[Wait]) -> Counter[tuple[str, str]]:
    return Counter((wait.kind, wait.place.rpartition(":")[0]) for wait in waits)


CHECKS = Counter({("card to host", f"fergi_reward/{file}.py"): 1 for file in ("images", "reward")})


@pytest.mark.parametrize("face", ["none", "recorded", "predicted"])
def test_a_reward_waits_for_the_check_of_pixels_and_of_scores(card: Card, reward: Callable, face: str) -> None:
    expected = reward("cpu", face, uncertainty_penalty=0.5)(PIXELS, PROMPTS, image_ids=IDS)
    asked = reward("cuda", face, uncertainty_penalty=0.5)
    asked(PIXELS, PROMPTS, image_ids=IDS)  # the predictor moves to the card once
    pixels = PIXELS.to("cuda").requires_grad_()
    with card.watched() as waits:
        output = asked(pixels, PROMPTS, image_ids=IDS)
        output.total.sum().backward()
    assert places(waits) == CHECKS
    with card.watched() as waits:
        scored = asked.score(pixels.detach(), PROMPTS, image_ids=IDS, batch_size=2)
    assert places(waits) == CHECKS
    with card.watched() as waits:
        logged = output.log()
    assert len(waits) == 1
    assert logged == pytest.approx(expected.log(), rel=1e-4, abs=1e-5)
    assert bool(pixels.grad.isfinite().all()) and bool(pixels.grad.any())
    for found in (output, scored, asked.score(PICTURES, PROMPTS, image_ids=IDS)):
        parts = {"total": found.total, **found.terms, **found.contributions, **found.missing}
        assert {str(part.device) for part in parts.values()} == {"cuda:0"}
        torch.testing.assert_close(found.total.detach().cpu(), expected.total.detach(), rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize("face", ["none", "predicted"])
def test_scorers_that_are_parked_score_on_the_card(card: Card, reward: Callable, face: str) -> None:
    asked = reward("cpu", face, device="cuda", offload=True)
    output = asked.score(PICTURES, PROMPTS)
    assert output.total.device.type == "cuda"
    assert {str(scorer.device) for scorer in asked.scorers} == {"cpu"}
    expected = reward("cpu", face).score(PICTURES, PROMPTS)
    torch.testing.assert_close(output.total.cpu(), expected.total, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_scorers_are_loaded_onto_the_card_by_name(card: Card, dtype: torch.dtype) -> None:
    made = {"scorers": ["pickscore"], "checkpoints": {"pickscore": emoji.checkpoints()["pickscore"]}}
    expected = CombinedReward.from_pretrained(emoji.CALIBRATION, **made).score(PICTURES, PROMPTS).total
    total = CombinedReward.from_pretrained(emoji.CALIBRATION, device="cuda", dtype=dtype, **made)
    torch.testing.assert_close(total.score(PICTURES, PROMPTS).total.cpu(), expected, rtol=0.02, atol=0.02)


def test_a_row_that_is_not_finite_is_named(card: Card, reward: Callable) -> None:
    asked = reward("cuda")
    scores = {name: torch.ones(3, device="cuda") for name in ("pickscore", "hps_v2")}
    scores["hps_v2"][1] = float("nan")
    with pytest.raises(ValueError, match="hps_v2 gave nan for image 1, prompt 'a blue dog'"):
        asked.combine(scores, PROMPTS)


def gradient(loss: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    pixels = pixels.clone().requires_grad_()
    loss(pixels).sum().backward()
    assert pixels.grad.device == pixels.device and bool(pixels.grad.any())
    return loss(pixels).detach()


def refl(asked: CombinedReward, pixels: Tensor) -> Tensor:
    adapter = adapters.ReFLReward(asked)
    tokens = adapter.blip.tokenizer(PROMPTS)
    ids, mask = (values.to(pixels.device) for values in (tokens.input_ids, tokens.attention_mask))
    return gradient(lambda x: adapter.score_gard(ids, mask, x), normalize(pixels))[:, 0]


# Each gives the totals, from the reward and the pixels.
HOSTS = {
    "trl_ddpo": lambda asked, x: adapters.TRLDDPOReward(asked)(x, PROMPTS, None)[0],
    "trl_alignprop": lambda asked, x: gradient(lambda x: adapters.TRLAlignPropReward(asked)(x, PROMPTS)[0], x),
    "ddpo_pytorch": lambda asked, x: torch.from_numpy(adapters.DDPOPyTorchReward(asked)(x, PROMPTS, None)[0]),
    "flow_grpo": lambda asked, x: adapters.FlowGRPOReward(asked)(x, PROMPTS, None)[0]["avg"],
    "alignprop": lambda asked, x: gradient(
        lambda x: adapters.AlignPropLoss(asked, image_range=(-1, 1))(x, PROMPTS)[1], x * 2 - 1
    ),
    "vader": lambda asked, x: gradient(lambda x: adapters.VADERLoss(asked)(x, PROMPTS)[1], x * 2 - 1).expand(3),
    "refl": refl,
    "reno": lambda asked, x: torch.stack(
        [
            -gradient(lambda x, prompt=prompt: adapters.ReNOLoss(asked)(x, prompt), normalize(one[None]))
            for one, prompt in zip(x, PROMPTS, strict=True)
        ]
    ),
    "imscore": lambda asked, x: gradient(lambda x: adapters.ImscoreReward(asked).score(x, PROMPTS), x),
    "verl_omni": lambda asked, x: torch.tensor(
        [
            adapters.VerlOmniReward(asked)("", (one * 255).round().to(torch.uint8), prompt)["score"]
            for one, prompt in zip(x, PROMPTS, strict=True)
        ]
    ),
    "diffusion_dpo": lambda asked, x: torch.tensor(
        [
            adapters.DiffusionDPOSelector(asked).score([one], prompt)[0]
            for one, prompt in zip(PICTURES, PROMPTS, strict=True)
        ]
    ),
}


@pytest.fixture(scope="module")
def totals(towers: Towers) -> Tensor:
    return CombinedReward(towers["cpu"], CALIBRATION)(PIXELS, PROMPTS).total.detach()


@pytest.mark.parametrize("host", HOSTS)
def test_hosts_on_the_card_get_the_totals_of_the_cpu(card: Card, reward: Callable, totals: Tensor, host: str) -> None:
    asked, pixels = reward("cuda"), PIXELS.to("cuda")
    with card.watched() as waits:
        found = HOSTS[host](asked, pixels)
    if host in ("trl_ddpo", "flow_grpo"):
        assert places(waits) == CHECKS + Counter({("values", "fergi_reward/callables/rewards.py"): 1})
    wanted = totals.mean().expand(3) if host == "vader" else totals
    torch.testing.assert_close(found.cpu(), wanted, rtol=1e-4, atol=1e-4)


def test_terms_are_normalised_on_the_card(card: Card, reward: Callable) -> None:
    output = reward("cuda", "recorded").score(PICTURES, PROMPTS, image_ids=IDS)
    weights = dict.fromkeys(output.terms, 1.0)
    found = group_normalized(output.terms, ["a", "a", "b"], weights, output.missing)
    assert found.device.type == "cuda"
    terms = {name: values.cpu() for name, values in output.terms.items()}
    missing = {name: values.cpu() for name, values in output.missing.items()}
    torch.testing.assert_close(found.cpu(), group_normalized(terms, ["a", "a", "b"], weights, missing))


CALL = {"height": 64, "width": 64, "num_inference_steps": 1, "guidance_scale": 3.0}


@pytest.mark.parametrize("family", ["stable_diffusion", "stable_diffusion_xl", "stable_diffusion_3", "flux"])
def test_pictures_drawn_on_the_card_are_those_of_the_cpu(card: Card, family: str) -> None:
    pipeline = getattr(tiny, family)()
    expected = render(pipeline, ["a cat"], [1], **CALL)
    drawn = render(pipeline.to("cuda"), ["a cat"], [1], **CALL)
    assert drawn.device.type == "cuda"
    torch.testing.assert_close(drawn.cpu(), expected, rtol=0, atol=1e-3)


def test_what_draws_and_scores_does_both_on_the_card(card: Card, reward: Callable) -> None:
    pipeline = tiny.stable_diffusion().to("cuda", torch.float16)
    best = best_of_n(pipeline, ["a cat"], reward("cuda"), 2, **CALL)
    assert bool(best.scores.isfinite().all())
    prompted = PromptReward(pipeline, reward("cuda"), **CALL)
    (value,) = prompted(["words"], ["a cat"], original_prompt=["cat"])
    assert np.isfinite(value)
