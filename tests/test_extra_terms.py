"""Scores that are added to a reward whose weights were fitted without them."""

import pandas as pd
import pytest
import torch
from PIL import Image

from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.options import RewardOptions
from fergi_reward.diffusion.rewards import load_reward
from fergi_reward.faces.recorded import Recorded
from fergi_reward.reward import CombinedReward
from fergi_reward.toy import emoji, tiny
from fergi_reward.trainers.identity import changes, check_changes, identity_of, model_part
from tests.command_line import invoke

PIXELS = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
PROMPTS = ["a cat", "a dog", "a cat"]
FITS = (
    Fit("pickscore", (Term("pickscore", -4.0, 2.0, 0.5),)),
    Fit("pickscore+au4", (Term("pickscore", -3.0, 4.0, 0.6), Term("au4", -0.2, 0.1, 0.3, 0.4))),
)
CALIBRATION = Calibration("test", "test", FITS, {}, "0", "", 0)


def brightness(pixels, prompts):
    return pixels.mean(dim=(1, 2, 3))


def darkness(pixels, prompts):
    return 1 - pixels.mean(dim=(1, 2, 3))


@pytest.fixture(scope="module")
def tower():
    return tiny.pickscore()


def test_the_total_is_the_calibrated_sum_and_the_raw_score_and_so_is_its_gradient(tower):
    reward = CombinedReward([tower], CALIBRATION, extra={"brightness": (brightness, 0.3)})
    pixels = PIXELS.clone().requires_grad_()
    output = reward(pixels, PROMPTS)
    alone = CombinedReward([tower], CALIBRATION)(pixels, PROMPTS).total
    torch.testing.assert_close(output.total, alone + 0.3 * brightness(pixels, PROMPTS), rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad(output.total.sum(), pixels)
    (expected,) = torch.autograd.grad(alone.sum() + 0.3 * brightness(pixels, PROMPTS).sum(), pixels)
    torch.testing.assert_close(gradient, expected)
    assert output.log()["reward/brightness"] == pytest.approx(PIXELS.mean().item())
    assert output.log()["reward/contributions/brightness"] == pytest.approx(0.3 * PIXELS.mean().item())
    assert reward.names == ["pickscore", "brightness"]
    assert reward.describe()["terms"]["brightness"]["weight"] == 0.3
    assert "extra adds raw scores: 1 more of the total is not what the calibration says" in reward.describe()["scale"]


def test_it_counts_with_and_without_a_face_and_names_are_loaded(tower):
    face = Recorded({"one": {"au4": 1.0}}, "test")
    options = {"face": face, "extra": {"brightness": (brightness, 2.0)}}
    found = CombinedReward([tower], CALIBRATION, **options)(PIXELS, PROMPTS, image_ids=["one", "?", "?"])
    alone = CombinedReward([tower], CALIBRATION, face=face)(PIXELS, PROMPTS, image_ids=["one", "?", "?"])
    torch.testing.assert_close(found.total - alone.total, 2.0 * brightness(PIXELS, PROMPTS), rtol=0, atol=1e-6)
    named = CombinedReward.from_pretrained(
        emoji.CALIBRATION, checkpoints=emoji.checkpoints(), extra={f"{__name__}:darkness": -1}
    )
    whole = CombinedReward.from_pretrained(emoji.CALIBRATION, checkpoints=emoji.checkpoints())
    expected = whole.score(PIXELS, PROMPTS).total - darkness(PIXELS, PROMPTS)
    torch.testing.assert_close(named.score(PIXELS, PROMPTS).total, expected)


def test_the_penalty_is_that_of_the_scores_that_were_weighed():
    towers = [tiny.pickscore(), tiny.hps()]
    fit = Fit("both", (Term("pickscore", -4.0, 2.0, 0.5), Term("hps_v2", 0.3, 0.1, 0.5)))
    weights = Calibration("test", "test", (fit,), {}, "0", "", 0)
    with_extra = CombinedReward(
        towers, weights, uncertainty_penalty=1.0, extra={"far": (lambda pixels, _: 1e3 * brightness(pixels, _), 1.0)}
    )
    alone = CombinedReward(towers, weights, uncertainty_penalty=1.0)
    torch.testing.assert_close(
        with_extra(PIXELS, PROMPTS).terms["disagreement"], alone(PIXELS, PROMPTS).terms["disagreement"]
    )


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"pickscore": 1.0}, "two scorers are called pickscore"),
        ({"brightness": (brightness,)}, "brightness must have a weight"),
        ({"mine": brightness}, r"mine must have a weight: \{'mine': \(my_reward, 0.3\)\}"),
        ({"mine": 0.3}, r"no scorer 'mine': one of your own .* weight, \{'mine': \(my_reward, 0.3\)\}"),
        ({"pickscor": 0.3}, "no scorer 'pickscor': did you mean pickscore"),
        ([brightness], "extra is .* must be a mapping, as in"),
        ({"brightness": (brightness, "0.3")}, "the weight of brightness is '0.3'"),
        ({"au4": 1.0}, "no scorer 'au4'"),
    ],
)
def test_what_cannot_be_added_is_one_sentence(tower, extra, sentence):
    with pytest.raises(FergiRewardError, match=sentence):
        CombinedReward([tower], CALIBRATION, extra=extra)


def test_a_resumed_run_must_add_the_same(tower):
    def identity(extra):
        reward = CombinedReward([tower], CALIBRATION, extra=extra)
        return identity_of(model=MODEL, prompts=["a"], judges={}, reward=reward)

    MODEL = model_part(tiny.stable_diffusion())
    before = identity({"mine": (brightness, 0.3)})
    told = {name: {"name": part.name, "digest": part.digest} for name, part in before.items()}
    assert not changes(told, identity({"mine": (brightness, 0.3)}))
    was, now = changes(told, identity({"mine": (brightness, 0.4)}))["calibration"]
    assert was.startswith("test + 0.3 x mine (") and now.startswith("test + 0.4 x mine (")
    for other in ({"mine": (brightness, 0.4)}, {"mine": (darkness, 0.3)}, {}):
        with pytest.raises(FergiRewardError, match="cannot resume run"):
            check_changes("run", changes(told, identity(other)), [])


def test_trainers_and_score_take_it_as_an_option(tmp_path, monkeypatch):
    options = RewardOptions(model="emoji", extra={f"{__name__}:darkness": 0.5})
    reward = load_reward(options, on=torch.device("cpu"))
    assert reward.names == [*emoji.SCORERS, f"{__name__}:darkness"]
    monkeypatch.chdir(tmp_path)
    for place, level in enumerate((10, 200)):
        Image.new("RGB", (32, 32), (level,) * 3).save(f"{place}.png")
    pd.DataFrame({"image": ["0.png", "1.png"], "prompt": "a cat"}).to_csv("pictures.csv", index=False)
    words = ["score", "--images", "pictures.csv", "--calibration", str(emoji.CALIBRATION), "--device", "cpu"]
    words += ["--checkpoints", ",".join(f"{name}={place}" for name, place in emoji.checkpoints().items())]
    for out, more in (("alone.csv", []), ("added.csv", ["--extra", f"{__name__}:darkness=0.5"])):
        found = invoke([*words, "--out", out, *more])
        assert found.exit_code == 0, found.output
    assert f"+ 0.5 x {__name__}:darkness" in found.stdout
    alone, added = pd.read_csv("alone.csv"), pd.read_csv("added.csv")
    assert added[f"{__name__}:darkness"].tolist() == pytest.approx([1 - 10 / 255, 1 - 200 / 255])
    difference = (added["reward"] - alone["reward"]).tolist()
    assert difference == pytest.approx([0.5 - 5 / 255, 0.5 - 100 / 255], abs=1e-5)
    refused = invoke(["score", "--images", "pictures.csv", "--extra", "clip=1"])
    assert refused.exit_code == 2 and "--extra is added to a reward" in refused.stderr


@pytest.mark.parametrize(
    ("extra", "message"),
    [({"": (brightness, 0.3)}, "has no name"), ({"a": (brightness, True)}, "of a is True, must be")],
)
def test_an_extra_term_has_a_name_and_a_number(extra, message):
    with pytest.raises(FergiRewardError, match=message):
        CombinedReward({"b": (brightness, 1.0)}, extra=extra)
