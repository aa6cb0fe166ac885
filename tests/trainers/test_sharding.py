"""Networks that are shared out among processes: two do what one does, and say what each of them holds."""

import json
import re
from pathlib import Path

import pytest
import torch
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from torch import nn

from fergi_reward.cli.command import read_options
from fergi_reward.core.options import OptionsError
from fergi_reward.files.tensor_files import read_tensors
from fergi_reward.toy import tiny
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.dry_run import dry_run
from fergi_reward.trainers.options import PairTrainingOptions, RewardTrainingOptions
from fergi_reward.trainers.registry import TRAINERS
from fergi_reward.trainers.reward_backprop_config import RewardBackpropConfig
from fergi_reward.trainers.sharding import blocks_of, collected, gathered_sizes, most_kept
from tests.trainers.sharded_runs import adapter, full, pairs, train

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("sharded_runs.py")
WEIGHTS = {
    full: "transformer/diffusion_pytorch_model.safetensors",
    adapter: "lora/pytorch_lora_weights.safetensors",
    pairs: "lora/pytorch_lora_weights.safetensors",
}


def logged(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def assert_alike(kind, one, two):
    """Losses, lengths of gradients, scores of judges, and weights, to float tolerance; one may be resumed."""
    lines = logged(one)
    for ours, theirs in zip(lines, logged(two)[-len(lines) :], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)
    ours, theirs = (read_tensors(folder / WEIGHTS[kind]) for folder in (one, two))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def two(forked, tmp_path_factory):
    """The folder of what two processes have trained, one run after the other, and what they printed."""
    folder = tmp_path_factory.mktemp("two")
    started = forked([SCRIPT, folder], 2)
    assert started.wait() == 0, started.stderr
    (folder / "said").write_text(started.stdout)
    return folder


@pytest.mark.parametrize("kind", WEIGHTS, ids=lambda kind: kind.__name__)
def test_two_processes_train_a_shared_out_network_as_one_does(two, kind, tmp_path):
    train(kind, tmp_path / "one")
    assert_alike(kind, tmp_path / "one", two / kind.__name__)


def test_all_weights_shared_out_resume_to_the_bit_in_two_processes_and_in_one(two, tmp_path, capsys):
    first = two / "full/checkpoints/epoch_0001"
    assert (two / "resumed" / WEIGHTS[full]).read_bytes() == (two / "full" / WEIGHTS[full]).read_bytes()
    assert "resuming with changes" not in (two / "said").read_text()
    train(full, tmp_path / "alone", first)
    assert "resuming with changes: processes 2 -> 1\n" in capsys.readouterr().out
    assert_alike(full, tmp_path / "alone", two / "full")
    network = SD3Transformer2DModel.from_pretrained(two / "full/transformer")
    numbers = [json.loads((two / f"kept_{rank}.json").read_text()) for rank in range(2)]
    assert numbers[0] == most_kept(network.parameters(), 2) and sum(numbers) == network.num_parameters()


def test_a_dry_run_says_what_each_process_holds():
    options = {"full_finetuning": True, "ema_decay": 0.9, "num_processes": 4}
    alone = dry_run(TrainerConfig(**options), tiny.stable_diffusion_3(), {})
    shared = dry_run(TrainerConfig(**options, shard=True), tiny.stable_diffusion_3(), {})
    network = tiny.stable_diffusion_3().transformer
    kept = sum(-(-len(value) // 4) * value[0].numel() for value in network.parameters())
    assert shared.trained_weights == shared.average == 4 * kept and shared.moments == 8 * kept
    assert alone.weights - shared.weights == 4 * (network.num_parameters() - kept)  # of the frozen copy
    block = max(4 * sum(value.numel() for value in part.parameters()) for part in network.transformer_blocks)
    inside = 4 * sum(value.numel() for value in network.transformer_blocks.parameters())
    outermost = 4 * network.num_parameters() - inside
    assert shared.gathered == 2 * outermost + 3 * block and alone.gathered == 0
    assert (alone.sampling, alone.training, alone.encoders) == (shared.sampling, shared.training, shared.encoders)
    assert "each of 4 processes holds frozen weights" in str(shared) and "trains in batches of 1" in str(shared)


def test_the_adapter_of_a_shared_out_network_stays_whole_in_a_dry_run():
    alone, shared = (
        dry_run(TrainerConfig(num_processes=2, shard=shard), tiny.qwen_image(), {}) for shard in (False, True)
    )
    assert shared.optimizer == alone.optimizer
    network = tiny.qwen_image().transformer
    assert alone.weights - shared.weights == 4 * (network.num_parameters() - most_kept(network.parameters(), 2))


def test_inner_blocks_come_first_and_every_weight_is_in_one_piece():
    network = tiny.stable_diffusion().unet
    parts = blocks_of(network)
    places = {id(part): place for place, part in enumerate(parts)}
    for part in parts:
        assert all(places[id(inner)] <= places[id(part)] for inner in part.modules() if id(inner) in places)
    assert sum(gathered_sizes(network, set())) == 4 * network.num_parameters()


def test_rows_that_do_not_divide_are_counted_where_most_are_kept():
    assert most_kept([torch.zeros(5, 3), torch.zeros(1)], 4) == 2 * 3 + 1


def test_what_is_whole_stays_as_it_is():
    value = nn.Parameter(torch.ones(2))
    assert collected({"state": [value], "steps": 3}, keeps=True) == {"state": [value], "steps": 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_processes": 1}, "shard is on, but one process has all weights"),
        ({"num_processes": 2, "frozen_weights": "nf4"}, "shard is on with frozen_weights nf4"),
        ({"num_processes": 2, "full_finetuning": True, "train_optimizer": "adafactor"}, "train_optimizer adafactor"),
        ({"num_processes": 2, "full_finetuning": True, "mixed_precision": "fp16"}, "mixed_precision fp16"),
    ],
)
def test_what_cannot_be_shared_out_is_refused_before_anything_is_loaded(options, message):
    with pytest.raises(OptionsError, match=message):
        TrainerConfig(shard=True, **options)


def test_processes_that_go_backward_through_other_numbers_of_steps_are_refused():
    with pytest.raises(OptionsError, match="backprop_steps_each_batch, but all processes"):
        RewardBackpropConfig(
            shard=True, num_processes=2, backprop_steps_each_batch=True, backprop_steps_max=2, sample_num_steps=3
        )


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "sharded").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_configuration_is_for_the_processes_of_its_launch_line(path):
    launched = re.match(r"# torchrun --nproc-per-node (\d+) training/(\w+)\.py --config (\S+)\n", path.read_text())
    processes, trainer, given = launched.groups()
    assert ROOT / given == path
    target = TRAINERS.get(trainer).target
    kind = PairTrainingOptions if target.learns_from == "pairs" else RewardTrainingOptions
    _, config = read_options([kind, target.config_class], ["--config", str(path)])
    assert config.shard and config.processes == int(processes)
