"""A face that is neither recorded nor predicted: anything with the members of `Face`."""

import pytest
import torch

from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.faces.face import FaceTerms
from fergi_reward.reward import CombinedReward
from fergi_reward.toy import tiny

PICK, SMILE = Term("pickscore", 3.0, 4.0, 0.6), Term("au12", -0.2, 0.1, 0.3, 0.4)
CALIBRATION = Calibration("test", "camera", (Fit("0", (PICK,)), Fit("1", (PICK, SMILE))), {}, "0", "", 0)
PIXELS = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))


class Smiling:
    """Everybody smiles as much as the first number of the picture's embedding says."""

    mode, source, units = "smiling", "camera", frozenset({"au12"})
    tower, tower_terms, is_differentiable = "pickscore", ("smile",), False

    @property
    def reader(self):
        return self

    def check(self, fit):
        assert fit.units == ("au12",)

    def check_tower(self, scorer):
        assert scorer.name == "pickscore"

    def read(self, images, texts):
        return {"smile": images[:, 0].detach()}

    def terms(self, fit, read, image_ids, count, device):
        return FaceTerms({}, {"au12": fit.terms[1].contribution(read["smile"])})

    def describe(self):
        return {"mode": self.mode}

    def fingerprints(self):
        return {"smile": "1"}


def test_a_face_of_somebody_elses_is_weighed():
    scorer = tiny.pickscore(seed=0)
    reward = CombinedReward([scorer], CALIBRATION, face=Smiling())
    output, (images, _) = reward(PIXELS, "a cat"), scorer.features(PIXELS, "a cat")
    expected = 0.6 * (scorer(PIXELS, "a cat") - 3.0) / 4.0 + 0.3 * (images[:, 0] + 0.2) / 0.1
    torch.testing.assert_close(output.total, expected)
    assert reward.describe()["reaction"] == {"mode": "smiling"} and reward.fingerprints()["smile"] == "1"


def test_a_face_that_loses_the_gradient_is_refused_where_one_is_needed():
    reward = CombinedReward([tiny.pickscore(seed=0)], CALIBRATION, face=Smiling())
    with pytest.raises(FergiRewardError, match="no gradient goes through smile"):
        reward(PIXELS.clone().requires_grad_(), "a cat")
