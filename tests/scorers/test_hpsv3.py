"""HPSv3 as its package computes it, on a tiny Qwen2-VL with random weights; the published ones were never here."""

import shutil

import hpsv3_files
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import Qwen2VLConfig
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.images import to_pixels
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.hpsv3 import HPSv3Scorer, token_grid
from fergi_reward.scorers.registry import load_scorer, parameter_count
from fergi_reward.scorers.scorer_set import ScorerSet
from fergi_reward.toy import tiny
from tests.command_line import invoke

PROMPTS = ["a cat", "a dog on a long sofa", "a cat"]
# From `judged` of tests/parity/original_hpsv3.py (hpsv3 1.0.0, transformers 4.45.2), by pictures and PROMPTS.
MEANS = [0.08882631361484528, 0.15533244609832764, 0.16910851001739502]
SIGMAS = [0.9022104740142822, 0.8787371516227722, 0.8271635174751282]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    written = tmp_path_factory.mktemp("hpsv3")
    hpsv3_files.write(tiny.hpsv3(), written)
    return written


@pytest.fixture(scope="module")
def scorer(folder):
    return load_scorer("hpsv3", folder)


@pytest.fixture(scope="module")
def pictures():
    noise = np.random.default_rng(0)
    sizes = ((64, 64), (40, 90), (600, 500))
    return [Image.fromarray(noise.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in sizes]


def test_means_and_sigmas_are_the_original_packages(scorer, pictures):
    means, sigmas = scorer.score_with_sigma(pictures, PROMPTS)
    assert means.tolist() == pytest.approx(MEANS, abs=2e-6)
    assert sigmas.tolist() == pytest.approx(SIGMAS, abs=2e-6)
    assert torch.equal(scorer.score(pictures, PROMPTS), means)


def test_no_score_depends_on_the_batch(folder, pictures):
    scorer = load_scorer("hpsv3", folder, dtype=torch.float64)  # float32 is rounded by the shape of a batch
    alone = [scorer.score(picture, prompt).item() for picture, prompt in zip(pictures, PROMPTS, strict=True)]
    assert scorer.score(pictures, PROMPTS, batch_size=2).tolist() == alone


def test_pixels_score_as_pictures(scorer, pictures):
    for row, picture in enumerate(pictures):
        score, sigma = scorer.with_sigma(to_pixels(picture)[None], PROMPTS[row])
        assert [score.item(), sigma.item()] == pytest.approx([MEANS[row], SIGMAS[row]], abs=5e-4)


def test_gradients_of_mean_and_sigma_reach_the_pixels():
    exact = tiny.hpsv3().double()
    pixels = (0.3 + 0.4 * torch.rand(1, 3, 5, 6, dtype=torch.float64, generator=torch.manual_seed(0))).requires_grad_()

    def both(values):
        mean, sigma = exact.with_sigma(values, "a cat")
        return mean.sum() + 2 * sigma.sum()

    (gradient,) = torch.autograd.grad(both(pixels), pixels)
    step = 1e-5 * gradient / gradient.norm()
    with torch.no_grad():  # the norms of Qwen2 compute in float32, which gradcheck is too strict for
        slope = (both(pixels + step) - both(pixels - step)) / 2e-5
    assert slope.item() == pytest.approx(gradient.norm().item(), rel=0.01)


def test_bfloat16_moves_scores_little(folder, pictures):
    low = load_scorer("hpsv3", folder, dtype=torch.bfloat16)
    assert low.score(pictures, PROMPTS).tolist() == pytest.approx(MEANS, abs=0.05)
    assert low.model.rotary_emb.inv_freq.dtype == low.rm_head[0].weight.dtype == torch.float32


@given(st.integers(28, 3000), st.integers(28, 3000))
def test_the_size_of_pictures_is_transformers(height, width):
    wanted = smart_resize(height, width, factor=28, min_pixels=200704, max_pixels=200704)
    assert tuple(28 * side for side in token_grid(height, width)) == wanted


def test_the_longest_forms_have_room(scorer):
    assert token_grid(1, 200) == (2, 227)
    assert torch.isfinite(scorer(torch.rand(1, 3, 1, 200), "a cat")).all()
    with pytest.raises(FergiRewardError, match="201 x 1"):
        scorer(torch.rand(1, 3, 1, 201), "a cat")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("<|Reward|>", "reserves"), ("a <|image_pad|> cat", "reserves"), ("x" * 1600, "4163 tokens, it reads 4096")],
)
def test_prompts_that_it_cannot_read(scorer, prompt, message):
    with pytest.raises(FergiRewardError, match=message):
        scorer(torch.rand(1, 3, 8, 8), prompt)
    # A trainer asks before it draws.
    reward = CombinedReward({"hpsv3": (scorer, 1.0), "brightness": (Brightness(), 1.0)})
    reward.check_prompts(PROMPTS)
    with pytest.raises(FergiRewardError, match=message):
        reward.check_prompts([*PROMPTS, prompt])


def test_a_scorer_given_by_name_is_loaded_to_check_prompts_only_if_it_may_refuse_one(folder):
    named = ScorerSet(["pickscore", "hpsv3"], checkpoints={"hpsv3": folder})  # there is no pickscore to load
    (asked,) = named.checking()
    with pytest.raises(FergiRewardError, match="reserves"):
        asked.check_prompts(["<|Reward|>"])


@pytest.mark.parametrize("written", ["{}", "not JSON"])
def test_a_damaged_tokenizer_is_refused_by_name(folder, tmp_path, written):
    shutil.copy(folder / "config.json", tmp_path)
    (tmp_path / "tokenizer.json").write_text(written)
    with pytest.raises(FergiRewardError, match=r"tokenizer\.json is"):
        load_scorer("hpsv3", tmp_path)


def test_another_tokenizer_is_refused():
    tokenizer = tiny.qwen_tokenizer()
    with pytest.raises(FergiRewardError, match=r"no <\|vision_start\|>"):
        HPSv3Scorer(Qwen2VLConfig(), tokenizer)


def test_braces_in_a_prompt_are_text(scorer):
    assert torch.isfinite(scorer(torch.rand(1, 3, 8, 8), "{0} {text_prompt} {")).all()


def test_the_published_size_is_what_a_dry_run_counts():
    text = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28}
    with torch.device("meta"):
        model = HPSv3Scorer(Qwen2VLConfig(text_config={**text, "num_key_value_heads": 4}), tiny.qwen_vl_tokenizer())
    # Who opened the published file counts 736 weights; one is the head of the language model.
    assert len(model.state_dict()) == 735
    tokens = (151_658 - len(model.tokenizer)) * 3584
    assert sum(weights.numel() for weights in model.parameters()) + tokens == pytest.approx(
        parameter_count("hpsv3"), rel=1e-3
    )


def test_the_command_scores_with_it(folder, pictures, tmp_path):
    (tmp_path / "images").mkdir()
    for row, picture in enumerate(pictures):
        picture.save(tmp_path / "images" / f"{row}.png")
    frame = pd.DataFrame({"image": [f"images/{row}.png" for row in range(3)], "prompt": PROMPTS})
    frame.to_csv(tmp_path / "manifest.csv", index=False)
    asked = (
        f"score --images {tmp_path}/manifest.csv --scorers hpsv3 --checkpoints=hpsv3={folder} --out {tmp_path}/out.csv"
    )
    assert invoke(asked.split()).exit_code == 0
    assert pd.read_csv(tmp_path / "out.csv").hpsv3.tolist() == pytest.approx(MEANS, abs=2e-6)


# The sigma in a reward.


class Brightness:
    name = "brightness"

    def __call__(self, pixels, prompts):
        return pixels.mean(dim=(1, 2, 3))


def test_the_penalty_is_the_spread_of_the_mixture(scorer):
    pixels = torch.rand(2, 3, 8, 8, generator=torch.manual_seed(0))
    scorers = {"hpsv3": (scorer, 0.7), "brightness": (Brightness(), 0.3)}
    moments = {"hpsv3": (0.1, 0.5), "brightness": (0.5, 0.2)}
    plain = CombinedReward(scorers, standardise=moments)(pixels, "a cat")
    guarded = CombinedReward(scorers, standardise=moments, uncertainty_penalty=2.0)(pixels, "a cat")
    means, sigmas = scorer.with_sigma(pixels, "a cat")
    for row, (mean, sigma) in enumerate(zip(means.tolist(), sigmas.tolist(), strict=True)):
        one, other = (mean - 0.1) / 0.5, (pixels[row].mean().item() - 0.5) / 0.2
        spread = (((one - other) / 2) ** 2 + (sigma / 0.5) ** 2 / 2) ** 0.5
        assert guarded.terms["disagreement"][row].item() == pytest.approx(spread, rel=1e-5)
        assert guarded.total[row].item() == pytest.approx(plain.total[row].item() - 2 * spread, rel=1e-5)
    assert torch.equal(guarded.terms["hpsv3_sigma"], sigmas)
    assert "hpsv3_sigma" not in plain.terms


def test_a_single_unsure_scorer_may_be_penalised_and_pictures_too(scorer, pictures):
    reward = CombinedReward({"hpsv3": (scorer, 1.0)}, standardise={"hpsv3": (0.1, 0.5)}, uncertainty_penalty=1.0)
    output = reward.score(pictures, PROMPTS)
    expected = [(mean - 0.1 - sigma) / 0.5 for mean, sigma in zip(MEANS, SIGMAS, strict=True)]
    assert output.total.tolist() == pytest.approx(expected, abs=1e-5)
    with pytest.raises(FergiRewardError, match="hpsv3_sigma"):
        reward.combine({"hpsv3": torch.zeros(1)}, ["a cat"])
