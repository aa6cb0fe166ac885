from types import SimpleNamespace

import pytest
import torch

from fergi_reward.errors import FergiRewardError
from fergi_reward.trainers.rewards import evaluate

PIXELS = torch.zeros(2, 3, 8, 8)
PROMPTS = ["a cat", "a dog"]


def test_a_tensor_is_a_total_without_terms():
    rewards = evaluate(lambda pixels, prompts: torch.tensor([1, 2], dtype=torch.bfloat16), PIXELS, PROMPTS)
    assert rewards.total.tolist() == [1, 2]
    assert rewards.total.dtype == torch.float32
    assert rewards.terms == {}


def test_terms_are_kept_by_name():
    answer = SimpleNamespace(total=torch.tensor([1.0, 2.0]), terms={"pickscore": torch.tensor([21.0, 22.0])})
    rewards = evaluate(lambda pixels, prompts: answer, PIXELS, PROMPTS)
    assert rewards.terms["pickscore"].tolist() == [21, 22]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (torch.zeros(2, 1), r"shape \(2, 1\) for pixels of shape \(2, 3, 8, 8\): it must be \(2,\)"),
        (torch.tensor(0.0), r"shape \(\)"),
        (torch.tensor([0.0, torch.nan]), "nan for image 1 of its batch, prompt 'a dog'"),
        (torch.tensor([torch.inf, 0.0]), "inf for image 0 of its batch, prompt 'a cat'"),
        (SimpleNamespace(total=torch.zeros(2), terms={"au4": torch.zeros(3)}), r"au4 has shape \(3,\)"),
    ],
)
def test_an_answer_that_is_no_reward_is_named(answer, message):
    with pytest.raises(FergiRewardError, match=message):
        evaluate(lambda pixels, prompts: answer, PIXELS, PROMPTS)
