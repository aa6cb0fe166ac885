"""Training on a reward that is elsewhere: the server's reward is the run's, by content; no scorer is asked here."""

import json

import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.prompts import read_prompts
from fergi_reward.trainers.options import RewardTrainingOptions
from tests.command_line import invoke
from tests.served import serving

TRAIN = ["train", "ddpo", "--model", "tiny", "--prompts", "tiny", "--num_epochs", "1", "--sample_num_steps", "2"]
SMALL = ["--sample_batch_size", "2", "--sample_num_batches_per_epoch", "1", "--train_batch_size", "2"]
ALONE = ["--train_gradient_accumulation_steps", "1", "--mixed_precision", "no", "--log_with", "none"]
RUN = [*TRAIN, *SMALL, *ALONE, "--grid_num_images", "2"]


def test_a_run_follows_the_servers_reward_and_resumes_with_no_other(tmp_path):
    token = tmp_path / "token"
    token.write_text("a-secret-of-the-operator\n")
    token.chmod(0o600)
    run = [*RUN, "--reward_token_file", token, "--output_dir", tmp_path / "run"]
    with serving(token="a-secret-of-the-operator") as running:
        url = f"http://127.0.0.1:{running.port}"
        done = invoke([*run, "--reward_url", url, "--async_reward_computation"])
        assert done.exit_code == 0, done.output
        assert sum(running.scorer.calls) == 2
        metrics = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
        total = 2 * metrics["terms/brightness_mean"] + metrics["terms/letters_mean"]
        assert metrics["reward_mean"] == pytest.approx(total, abs=1e-5)
        files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
        assert not any(b"a-secret" in path.read_bytes() for path in files)
        card = next((tmp_path / "run").rglob("README.md")).read_text()
        assert "brightness" in card and f'"url": "{url}"' in card and "prompts of tiny (" in card
        assert read_prompts(tmp_path / "run" / "lora" / "prompts.txt") == read_prompts("tiny")
        longer = [*run, "--num_epochs", "2", "--resume_from", tmp_path / "run" / "checkpoints" / "epoch_0001"]
        assert invoke([*longer, "--reward_url", url]).exit_code == 0
    with serving(brightness=3.0) as other:
        url = f"http://127.0.0.1:{other.port}"
        refused = invoke([*longer, "--num_epochs", "3", "--reward_url", url])
    assert refused.exit_code == 2
    assert "cannot resume" in refused.output


def test_a_server_that_does_not_answer_ends_the_run_at_the_time_limit(tmp_path):
    refused = invoke(
        [*RUN, "--reward_url", "http://127.0.0.1:1", "--reward_time_limit", "0.3", "--output_dir", tmp_path]
    )
    assert refused.exit_code == 2
    assert "http://127.0.0.1:1 gave no answer in 0." in refused.output
    for alone in ({"reward_time_limit": 3.0}, {"reward_token_file": "token"}):
        with pytest.raises(FergiRewardError, match=f"{next(iter(alone))} is .* without reward_url"):
            RewardTrainingOptions(**alone)


def test_a_gradient_from_a_server_is_refused_before_anything_is_loaded():
    refused = invoke(["train", "reward_backprop", "--model", "no/such/model", "--reward_url", "http://127.0.0.1:1"])
    assert refused.exit_code == 2
    assert "the reward's gradient, which comes over no network" in refused.output


def test_a_dry_run_asks_no_server_and_counts_no_scorers():
    shown = invoke([*RUN, "--reward_url", "http://127.0.0.1:1", "--dry_run"])
    assert shown.exit_code == 0, shown.output
    assert "pickscore" not in shown.output


def test_an_address_that_is_none_ends_the_run_with_a_sentence(tmp_path):
    refused = invoke([*RUN, "--reward_url", "127.0.0.1:8000", "--output_dir", tmp_path])
    assert refused.exit_code == 2
    assert "must be http://HOST:PORT" in refused.output


@pytest.mark.parametrize(
    "given",
    [
        {"scorers": ["pickscore"]},
        {"calibration": "shipped"},
        {"weights": {"pickscore": 1.0}},
        {"uncertainty_penalty": 0.5},
        {"predictor": "folder"},
    ],
)
def test_what_the_server_has_is_not_given_here_too(given):
    [name] = given
    with pytest.raises(FergiRewardError, match=f"{name} and reward_url are both given: the server has its own"):
        RewardTrainingOptions(reward_url="http://127.0.0.1:1", **given)
