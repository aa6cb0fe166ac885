"""The predicted reaction as a term of the combined reward."""

import math
import pickle
from collections import Counter
from dataclasses import replace

import pytest
import torch

from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.rewards import load_reward
from fergi_reward.faces.predicted import Predicted
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.foreign import as_scorer
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy import emoji, tiny
from fergi_reward.toy.emoji.pictures import SEEN
from fergi_reward.trainers.identity import described
from fergi_reward.trainers.options import RewardTrainingOptions

FACE = Term("au4", -0.2, 0.1, 0.3, 0.4)
PICK, HPS = Term("pickscore", 3.0, 4.0, 0.6), Term("hps_v2", 0.2, 0.1, 0.5)
CALIBRATION = Calibration(
    "test",
    "test",
    tuple(
        Fit(str(number), terms)
        for number, terms in enumerate([(PICK,), (HPS,), (PICK, HPS), (PICK, FACE), (HPS, FACE), (PICK, HPS, FACE)])
    ),
    {},
    "0",
    "",
    0,
)
PROMPTS = ["a cat", "a dog", "a cat"]
PIXELS = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def tower():
    return tiny.pickscore(seed=0)


def predicted(scorers, predictor, pessimism=1.0, accept_chance=False, **options):
    return CombinedReward(scorers, CALIBRATION, face=Predicted(predictor, pessimism, accept_chance), **options)


def test_the_expected_valence_less_its_uncertainty_is_weighed_as_a_valence(tower, predictor_for):
    predictor = predictor_for(tower)
    output = predicted([tower], predictor, pessimism=2.0)(PIXELS, PROMPTS)
    expected = predictor(*tower.features(PIXELS, PROMPTS))
    torch.testing.assert_close(output.terms["au4"], expected.mean)
    torch.testing.assert_close(output.terms["au4_uncertainty"], expected.uncertainty)
    by_hand = 0.6 * (tower(PIXELS, PROMPTS) - 3.0) / 4.0
    by_hand += 0.3 * (expected.mean - 2.0 * expected.uncertainty + 0.2) / 0.1
    torch.testing.assert_close(output.total, by_hand)
    torch.testing.assert_close(sum(output.contributions.values()), output.total)
    assert output.missing == {}


def test_pixels_and_pictures_are_scored_alike(tower, predictor_for):
    reward = predicted([tower, tiny.hps(seed=0)], predictor_for(tower))
    scored = reward.score(PIXELS, PROMPTS, batch_size=2)
    torch.testing.assert_close(scored.total, reward(PIXELS, PROMPTS).total)
    assert not scored.total.requires_grad and not scored.total.is_inference()


def counted(tower):
    """How often each tower of a PickScore runs."""
    runs = Counter()
    for name, part in zip(("image", "text"), tower.towers(), strict=True):
        part.register_forward_hook(lambda *_, name=name: runs.update([name]))
    return runs


def test_the_towers_run_once_per_batch(tower, predictor_for):
    reward, runs = predicted([tower], predictor_for(tower)), counted(tower)
    reward(PIXELS, PROMPTS)
    assert runs == {"image": 1, "text": 1}
    runs.clear()
    reward.score(PIXELS, PROMPTS, batch_size=2)
    assert runs == {"image": 2, "text": 1}  # two batches of pictures; two different prompts
    alone = counted(plain := tiny.pickscore(seed=0))
    CombinedReward([plain], CALIBRATION).score(PIXELS, PROMPTS, batch_size=2)
    assert alone == runs


def test_without_pickscore_in_the_reward_one_is_loaded_for_the_predictor(predictor_for):
    folder = emoji.checkpoints()["pickscore"]
    tower, hps = load_scorer("pickscore", folder), tiny.hps(seed=0)
    predictor = predictor_for(tower)
    reward = predicted([hps], predictor, checkpoints={"pickscore": folder})
    pixels, prompts = PIXELS[..., :32, :32], [scene.caption for scene in SEEN[:3]]
    for output in (reward(pixels, prompts), reward.score(pixels, prompts)):
        assert set(output.terms) == {"hps_v2", "au4", "au4_uncertainty"}
        torch.testing.assert_close(output.terms["au4"], predictor(*tower.features(pixels, prompts)).mean)
    assert reward.names == ["hps_v2"]
    copy = pickle.loads(pickle.dumps(reward))  # as other processes get it: it loads a PickScore of its own
    torch.testing.assert_close(copy(pixels, prompts).total, reward(pixels, prompts).total)
    other = predicted([hps], predictor_for(tower, tower=tower.fingerprint()[::-1]), checkpoints={"pickscore": folder})
    with pytest.raises(FergiRewardError, match="fitted on a PickScore of the fingerprint"):
        other(pixels, prompts)


def test_gradients_of_the_expected_valence_reach_the_pixels(tower, predictor_for):
    predictor = predictor_for(tower)
    leaf, own = (PIXELS.clone().requires_grad_() for _ in range(2))
    output = predicted([tower], predictor, pessimism=0.5)(leaf, PROMPTS)
    (output.contributions["au4"] + output.contributions["au4_uncertainty"]).sum().backward()
    prediction = predictor(*tower.features(own, PROMPTS))
    (3 * (prediction.mean - 0.5 * prediction.uncertainty)).sum().backward()
    assert own.grad.abs().sum() > 0
    torch.testing.assert_close(leaf.grad, own.grad)


def test_the_disagreement_of_the_scorers_is_penalised_as_well(tower, predictor_for):
    scorers, predictor = [tower, tiny.hps(seed=0)], predictor_for(tower)
    plain = predicted(scorers, predictor)(PIXELS, PROMPTS)
    guarded = predicted(scorers, predictor, uncertainty_penalty=1.5)(PIXELS, PROMPTS)
    torch.testing.assert_close(guarded.total, plain.total - 1.5 * guarded.terms["disagreement"])


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"au_source": "pyfeat-v2"}, {}, "source 'test', got predicted reactions from 'pyfeat-v2'"),
        ({"decay": 0.2}, {}, r"decay 0\.4, the predictor expects that of decay 0\.2: fit it with --decay 0\.4"),
        ({"ci95": (0.49, 0.6)}, {}, r"no better than chance .* 55\.0% of the pairs \(95 % interval 49\.0%"),
        ({}, {"pessimism": -1.0}, "pessimism of a predicted face is -1.0: it must be at least 0"),
        ({}, {"checkpoints": {"hps_v2": "x"}}, "checkpoints are given for hps_v2"),
    ],
)
def test_predictors_and_options_that_do_not_fit(tower, predictor_for, changes, options, message):
    with pytest.raises(FergiRewardError, match=message):
        predicted([tower], predictor_for(tower, **changes), **options)


def test_another_pickscore_than_the_predictors_is_refused(tower, predictor_for):
    with pytest.raises(FergiRewardError, match="fitted on a PickScore of the fingerprint"):
        predicted([tiny.pickscore(seed=1)], predictor_for(tower))
    with pytest.raises(FergiRewardError, match="embeddings of a PickScorer, pickscore is another's"):
        predicted([as_scorer(tiny.hps(seed=0), "pickscore")], predictor_for(tower))


def test_the_old_arguments_mean_the_face_that_replaces_them(tower, predictor_for):
    predictor = predictor_for(tower, ci95=(0.4, 0.6))
    old = {"reaction": "predicted", "predictor": predictor, "reaction_pessimism": 2.0, "accept_chance": True}
    with pytest.warns(DeprecationWarning, match=r"accept_chance: give face=.* or face=Predicted\(\.\.\.\)"):
        one = CombinedReward([tower], CALIBRATION, **old)(PIXELS, PROMPTS).total
    assert one.equal(predicted([tower], predictor, 2.0, accept_chance=True)(PIXELS, PROMPTS).total)


def test_units_that_nobody_predicts_are_named(tower, predictor_for):
    both = Fit("both", (PICK, FACE, replace(FACE, name="au12")))
    with pytest.raises(FergiRewardError, match="weighs au12 with these scorers, and predicted reactions have au4"):
        CombinedReward(
            [tower], replace(CALIBRATION, fits=(Fit("0", (PICK,)), both)), face=Predicted(predictor_for(tower))
        )


def test_a_predictor_that_is_no_better_than_chance_is_taken_by_force_and_the_card_says_so(tower, predictor_for):
    predictor = predictor_for(tower, ci95=(0.4, 0.6))
    reward = predicted([tower], predictor, accept_chance=True, pessimism=0.5)
    reaction = described(reward)["reaction"]
    made = {"fingerprint": predictor.fingerprint, "better_than_chance": False}
    assert reaction == {"mode": "predicted", "pessimism": 0.5, "predictor": made}
    assert described(CombinedReward([tower], CALIBRATION))["reaction"] == {"mode": "none"}
    assert set(described(reward)["terms"]) == {"pickscore", "au4"}


def test_a_training_program_takes_a_predictor(predictor_for, tmp_path):
    tower = load_scorer("pickscore", emoji.checkpoints()["pickscore"])
    decay = Calibration.load(emoji.CALIBRATION).fit_for([*emoji.SCORERS, "au4"]).decay
    predictor_for(tower, au_source="simulated", decay=decay).save(tmp_path)
    script = RewardTrainingOptions(model="emoji", predictor=str(tmp_path), reaction_pessimism=0.0)
    captions = [scene.caption for scene in SEEN[:2]]
    output = load_reward(script)(torch.rand(2, 3, 32, 32), captions)
    assert output.contributions["au4_uncertainty"].abs().sum() == 0
    assert math.isfinite(output.total.sum())
    alone = load_reward(RewardTrainingOptions(model="emoji", scorers=["hps_v2"], predictor=str(tmp_path)))
    assert "au4" in alone(torch.rand(2, 3, 32, 32), captions).terms
