"""The data type "auto" is one of two, the same for a whole process, and gives exactly that type's scores."""

import pytest
import torch

from fergi_reward.bulk.job import load_scorers
from fergi_reward.bulk.options import ScoreOptions, ScoringOptions
from fergi_reward.bulk.scoring import Share
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.evaluation.options import CompareModelsOptions
from fergi_reward.scorers import fastest_dtype as module
from fergi_reward.scorers.fastest_dtype import fastest_dtype, resolved
from fergi_reward.scorers.pickscore import PickScorer
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.scorers.scorer_set import ScorerSet
from fergi_reward.toy import emoji

CPU = torch.device("cpu")
TOY = str(emoji.checkpoints()["pickscore"])


@pytest.fixture
def measured(monkeypatch):
    """A function that decides what is faster: the seconds of each data type."""

    def decide(float32, bfloat16):
        seconds = {torch.float32: float32, torch.bfloat16: bfloat16}
        monkeypatch.setattr(module, "_seconds", lambda device, dtype: seconds[dtype])
        fastest_dtype.cache_clear()

    yield decide
    fastest_dtype.cache_clear()


def test_it_is_measured_once(measured):
    fastest_dtype.cache_clear()
    found = fastest_dtype(CPU)
    assert found in (torch.float32, torch.bfloat16)
    assert resolved("auto", None) == resolved("auto", "cpu") == found and fastest_dtype.cache_info().misses == 1
    assert (resolved(None, "cpu"), resolved(torch.float16, "cpu")) == (None, torch.float16)


@pytest.mark.parametrize(("seconds", "dtype"), [((0.59, 0.90), torch.float32), ((0.75, 0.41), torch.bfloat16)])
def test_scores_are_those_of_the_data_type_that_was_taken(measured, seconds, dtype):
    measured(*seconds)
    pixels, prompts = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), ["a cat", "a dog"]
    expected = load_scorer("pickscore", TOY, dtype=dtype)(pixels, prompts)
    ways = [
        load_scorer("pickscore", TOY, dtype="auto"),
        PickScorer.from_pretrained(TOY, dtype="auto"),
        *ScorerSet(["pickscore"], checkpoints={"pickscore": TOY}, dtype="auto").loaded(),
        load_scorers(ScoringOptions(scorers=["pickscore"], checkpoints={"pickscore": TOY}, dtype="auto"), Share())[
            "pickscore"
        ],
    ]
    for scorer in ways:
        scores = scorer(pixels, prompts)
        assert torch.equal(scores, expected) and scores.dtype == torch.float32


def test_a_device_without_bfloat16_gets_float32(monkeypatch):
    def seconds(device, dtype):
        if dtype == torch.bfloat16:
            raise TypeError("BFloat16 is not supported on MPS")
        return 1.0

    monkeypatch.setattr(module, "_seconds", seconds)
    fastest_dtype.cache_clear()
    assert fastest_dtype(CPU) == torch.float32
    fastest_dtype.cache_clear()


def test_processes_and_workers_that_may_disagree_are_refused(tmp_path):
    with pytest.raises(FergiRewardError, match="auto is measured by each of the 2 processes, which may disagree"):
        load_scorers(ScoringOptions(dtype="auto"), Share(1, 2))
    with pytest.raises(FergiRewardError, match=r"--dtype auto is measured by each worker, which may disagree"):
        ScoreOptions(images=tmp_path / "x.csv", dtype="auto", engine="ray")
    with pytest.raises(FergiRewardError, match=r"dtype is 'auto', must be one of float32, bfloat16, float16"):
        CompareModelsOptions(tuned=["a"], prompts=tmp_path / "p.txt", dtype="auto")
