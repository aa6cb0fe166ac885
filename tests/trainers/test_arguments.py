import os
import signal
from dataclasses import fields

import pytest

from fergi_reward.cli.command import read_options
from fergi_reward.cli.errors import clean_exit
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.options import RewardOptions
from fergi_reward.trainers.ddpo import DDPOConfig
from tests.command_line import invoke


def test_the_command_line_overrides_the_file_and_the_file_the_defaults(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("num_epochs: 7\nseed: 3\ntrain_learning_rate: 1e-5\ntrain_cfg: false\n")
    (config,) = read_options([DDPOConfig], ["--config", str(path), "--seed", "4"])
    expected = DDPOConfig(num_epochs=7, seed=4, train_learning_rate=1e-5, train_cfg=False)
    assert config == expected


@pytest.mark.parametrize("listed", ["[pickscore, clip]", "pickscore, clip", "[pickscore,clip]"])
def test_names_of_scorers_are_a_list_or_have_commas_between(tmp_path, listed):
    (tmp_path / "run.yaml").write_text(f"scorers: {listed}\n")
    for arguments in (["--config", str(tmp_path / "run.yaml")], ["--scorers", "pickscore,clip"]):
        (script,) = read_options([RewardOptions], arguments)
        assert script.scorers == ["pickscore", "clip"]


@pytest.mark.parametrize(
    ("yaml", "arguments", "message"),
    [
        ("num_epoch: 3\n", [], "unknown option 'num_epoch': did you mean 'num_epochs'?"),
        (
            "lora_rnk: 4\nnum_epochs: -1\n",
            ["--sed", "3"],
            "'--seed'.*'lora_rank'.*num_epochs is -1, must be at least 1",
        ),
        ("", [], "must contain a YAML mapping"),
        ("seed: 1\n", ["--sample-batchsize", "3"], "did you mean '--sample-batch-size'?"),
        ("seed: 1\n", ["--num_epochs", "many"], "num_epochs is 'many', must be a whole number"),
        ("num_epochs: many\n", [], "num_epochs is 'many', must be a whole number"),
        ("num_epochs: [3]\n", [], r"num_epochs is \[3\], must be a whole number"),
        ("seed: {\n", [], "cannot read the configuration"),
        ("- seed\n", [], "must contain a YAML mapping"),
        ("seed: 1\n", ["--config"], "names no file"),
        (None, [], "cannot read the configuration: .*No such file"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, yaml, arguments, message):
    path = tmp_path / "run.yaml"
    if yaml is not None:
        path.write_text(yaml)
    with pytest.raises(FergiRewardError, match=message) as caught:
        read_options([DDPOConfig], ["--config", str(path), *arguments])
    assert "\n" not in str(caught.value)


def test_help_explains_every_option(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    explained = " ".join(invoke(["train", "ddpo", "--help"]).stdout.split())
    for field in fields(DDPOConfig):
        assert field.metadata["help"].split(";")[0][:40] in explained, field.name


def test_a_mistake_ends_a_program_with_status_2_and_without_a_traceback(capsys):
    with pytest.raises(SystemExit) as caught, clean_exit():
        raise FergiRewardError("wrong: do right")
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: wrong: do right\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_a_program_with_the_status_that_schedulers_expect(number, capsys):
    with pytest.raises(SystemExit) as caught, clean_exit():
        os.kill(os.getpid(), number)
    assert caught.value.code == 128 + number
    assert capsys.readouterr().err == f"stopped by {number.name}\n"
