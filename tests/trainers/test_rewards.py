from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fergi_reward.callables.rewards import evaluate
from fergi_reward.core.errors import FergiRewardError

PIXELS = torch.zeros(2, 3, 8, 8)
PROMPTS = ["a cat", "a dog"]


def test_a_tensor_is_a_total_without_terms():
    rewards = evaluate(lambda pixels, prompts: torch.tensor([1, 2], dtype=torch.bfloat16), PIXELS, PROMPTS)
    assert rewards.total.tolist() == [1, 2]
    assert rewards.total.dtype == torch.float32
    assert rewards.terms == {}


@pytest.mark.parametrize(
    "answer",
    [
        np.array([1, 2]),
        np.array([1, 2], np.float16),
        [1, 2.0],
        (1.0, 2.0),
        [torch.tensor(1.0), torch.tensor(2.0)],
        (torch.tensor([1.0, 2.0]), {"aesthetic": "high"}),
        ([1.0, 2.0], {}),
        (np.array([1.0, 2.0]), None),
        ([1.0, 2.0], [{}, {}]),
        SimpleNamespace(total=[1.0, 2.0], terms={}),
    ],
)
def test_numbers_come_in_any_form_and_with_the_metadata_of_trl(answer):
    assert evaluate(lambda pixels, prompts: answer, PIXELS, PROMPTS).total.tolist() == [1, 2]


@pytest.mark.parametrize("answer", [3.5, 3, np.float32(3), torch.tensor(3.0), [3.0], (3.0, {})])
def test_of_one_image_a_number_alone_is_enough(answer):
    total = evaluate(lambda pixels, prompts: answer, PIXELS[:1], PROMPTS[:1]).total
    assert total.tolist() == pytest.approx([3], abs=0.5)


def test_gradients_go_through_a_list_of_tensors():
    pixels = PIXELS.clone().requires_grad_()
    evaluate(lambda pixels, prompts: [one.sum() for one in pixels], pixels, PROMPTS).total.sum().backward()
    assert pixels.grad.eq(1).all()


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
        (np.array([0.0, np.nan]), "nan for image 1"),
        ([1e39, 0.0], "inf for image 0"),
        (np.ma.array([0.0, 1.0], mask=[False, True]), "nan for image 1"),
        (torch.zeros(2).to_sparse(), "one number per image"),
        ([1.0], r"shape \(1,\)"),
        (3.0, r"shape \(\)"),
        ([[1.0], [2.0]], r"shape \(2, 1\)"),
        ((torch.zeros(2), torch.zeros(2)), r"shape \(2, 2\)"),
        (None, "the reward's total is None: it must be one number per image"),
        ([1.0, None], r"total is \[1.0, None\]"),
        (["a", "b"], r"total is \['a', 'b'\]"),
        (np.array(["1", "2"]), "one number per image"),
        (torch.zeros(2, dtype=torch.complex64), "one number per image"),
        ({"avg": [1.0, 2.0]}, r"total is \{'avg': \[1.0, 2.0\]\}"),
        ([10**400, 0], "one number per image"),
        (SimpleNamespace(total=torch.zeros(2), terms={"au4": torch.zeros(3)}), r"au4 has shape \(3,\)"),
    ],
)
def test_an_answer_that_is_no_reward_is_named(answer, message):
    with pytest.raises(FergiRewardError, match=message):
        evaluate(lambda pixels, prompts: answer, PIXELS, PROMPTS)
