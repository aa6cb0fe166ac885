"""A calibration and the scorers of a reward: whether these are the ones that its weights were fitted with."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fergi_reward.calibration.by_hand import by_hand
from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.core.errors import FergiRewardWarning
from fergi_reward.faces.predicted import Predicted
from fergi_reward.files.digests import folder_fingerprint
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.foreign import as_scorer
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.scorers.signature import weights_signature
from fergi_reward.toy import emoji, tiny
from tests.command_line import invoke

PICKSCORE = emoji.checkpoints()["pickscore"]
NAMES = ["image_reward", "pickscore", "hps_v2"]


@pytest.fixture
def strict():
    """Warnings that pyproject.toml ignores are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def brightness(pixels, prompts):
    return pixels.mean(dim=(1, 2, 3))


def test_a_signature_is_that_of_the_weights_in_any_data_type():
    dtypes = (torch.float32, torch.bfloat16, torch.float16)
    assert len({weights_signature(load_scorer("pickscore", PICKSCORE, dtype=dtype)) for dtype in dtypes}) == 1
    assert weights_signature(tiny.pickscore(seed=0)) == weights_signature(tiny.pickscore(seed=0))
    assert weights_signature(tiny.pickscore(seed=0)) != weights_signature(tiny.pickscore(seed=1))
    assert weights_signature(as_scorer(brightness)) is None
    assert weights_signature(tiny.pickscore(seed=0).to("meta")) is None


@pytest.mark.usefixtures("strict")
def test_other_weights_than_the_calibrations_are_told_when_they_are_loaded():
    weights = Calibration.load(emoji.CALIBRATION)
    CombinedReward(emoji.load_scorers(), weights)
    named = CombinedReward(["pickscore"], weights, checkpoints={"pickscore": PICKSCORE})
    assert len(named.scorers) == 1
    with pytest.warns(FergiRewardWarning, match="of another checkpoint of pickscore than the one that is loaded"):
        CombinedReward([tiny.pickscore()], weights)
    with pytest.warns(FergiRewardWarning, match="of another checkpoint of pickscore"):
        CombinedReward({"pickscore": (tiny.pickscore(), 1.0)}, standardise=weights)
    CombinedReward([tiny.pickscore()], replace(weights, scored_by={}))  # as files of version 0.1 are


def test_calibrate_keeps_what_it_scored_with_and_score_says_that_it_has_another(tmp_path, monkeypatch, forked):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(12)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(name)
    table = pd.DataFrame({"image": names, "prompt": [f"a {number // 3}" for number in range(12)]})
    table.to_csv("pictures.csv", index=False)
    table.assign(rating=rng.normal(size=12)).to_csv("judged.csv", index=False)
    scorer = ["--scorers", "pickscore", "--device", "cpu", "--checkpoints", f"pickscore={PICKSCORE}"]
    assert invoke(["calibrate", "--judgements", "judged.csv", *scorer, "--report", "report"]).exit_code == 0
    versions = json.loads(Path("report/report.json").read_text())["provenance"]["versions"]
    assert versions["scorer pickscore"] == f"pickscore (SHA-256 {folder_fingerprint(PICKSCORE)[:16]})"
    fitted = Calibration.load("calibration.json")
    assert fitted.scored_by == {"pickscore": weights_signature(load_scorer("pickscore", PICKSCORE))}
    replace(fitted, scored_by={"pickscore": "of another"}).save("other.json")
    for calibration in ("calibration.json", "other.json"):
        words = ["score", "--images", "pictures.csv", *scorer, "--calibration", calibration, "--out", "s.csv"]
        program = forked(["-m", "fergi_reward", *words])
        assert program.wait() == 0
        assert program.stdout.startswith(
            f"scores of 12 images: s.csv, reward with weights of the calibration {calibration}\n"
        )
        told = [line for line in program.stderr.splitlines() if "warning" in line.lower()]
        assert len(told) == (calibration == "other.json")
    assert told[0].startswith("warning: the calibration was fitted on scores of another checkpoint of pickscore")


@pytest.mark.usefixtures("strict")
def test_scores_that_are_no_scores_of_the_calibrations_scorer_are_told_once():
    reward = CombinedReward(NAMES, Calibration.shipped())
    usual = {"image_reward": torch.zeros(2), "pickscore": torch.full((2,), 20.0), "hps_v2": torch.full((2,), 0.27)}
    reward.combine(usual, ["a", "b"])
    toys = usual | {"pickscore": torch.tensor([20.0, -8.24])}
    with pytest.warns(
        FergiRewardWarning,
        match=r"pickscore gave -8.24, .* the mean 20.75 and .* deviation 1.17: .* of another checkpoint, or of prompts",
    ) as told:
        reward.combine(toys, ["a", "b"])
    assert len(told) == 1
    reward.combine(toys, ["a", "b"])
    CombinedReward(NAMES, by_hand(dict.fromkeys(NAMES, 1.0))).combine(toys, ["a", "b"])  # raw: any scores will do


@pytest.mark.parametrize(("score", "is_told"), [(9.9, False), (10.1, True), (-10.1, True)])
def test_ten_standard_deviations_are_the_bound(score, is_told, recwarn):
    warnings.simplefilter("always")
    reward = CombinedReward(
        ["clip"], Calibration("test", "test", (Fit("clip", (Term("clip", 0.0, 1.0, 1.0),)),), {}, "0", "", 0)
    )
    reward.combine({"clip": torch.tensor([score])}, ["a"])
    assert len(recwarn) == is_told


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("model", ["tiny", "tiny_xl"])
def test_the_tiny_models_have_weights_of_their_own(model):
    from fergi_reward.diffusion.load import load_pipeline
    from fergi_reward.diffusion.options import RewardOptions
    from fergi_reward.diffusion.rewards import load_reward

    pipeline = load_pipeline(model, torch.float32)
    images = pipeline("a cat", num_images_per_prompt=2, num_inference_steps=2, output_type="pt").images
    totals = load_reward(RewardOptions(model=model), on=torch.device("cpu"))(images, "a cat").total
    assert totals.abs().max() < 10


def test_a_reward_of_a_predicted_face_alone_has_no_score_to_check(predictor_for):
    tower = load_scorer("pickscore", PICKSCORE)
    fits = (Fit("nothing", ()), Fit("au4", (Term("au4", -0.2, 0.1, 0.3, 0.4),)))
    weights = Calibration("test", "fergi-ir50", fits, {}, "0", "", 0)
    predictor = predictor_for(tower, au_source="fergi-ir50")
    reward = CombinedReward([], weights, face=Predicted(predictor), checkpoints={"pickscore": PICKSCORE})
    assert reward.score(torch.rand(2, 3, 32, 32), "a cat").total.isfinite().all()
