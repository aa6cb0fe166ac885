"""A run that is resumed with another option is refused or says so, whichever option of whichever trainer it is."""

from copy import copy
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest
import torch

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.trainers.checkpoints import STATE_FILE, Checkpoints
from fergi_reward.trainers.registry import TRAINERS

# Where a run writes and what it logs, where it is computed, and when judges are asked: no weight depends on these.
SILENT = {
    *("output_dir", "num_epochs", "resume_from", "allow_changes", "save_freq", "num_checkpoint_limit", "log_with"),
    *("tracker_project_name", "grid_freq", "grid_num_images", "offload_encoders", "shard"),
    *("stop_when_judge_falls", "judge_freq", "judge_patience", "judge_tolerance"),
}
# With another of these, what the weights and the optimiser's moments have learned would be of another objective.
REFUSED = {
    *("resolution", "max_sequence_length", "lora_rank", "lora_alpha", "lora_target_modules", "full_finetuning"),
    *("frozen_weights", "train_optimizer", "train_unconditional", "advantage_std", "train_kl_form", "sde_type"),
    *("nft_weighting", "nft_old_rate", "nft_old_delay", "sample_solver"),
}


def changed(config, name):
    """The same options but one, whether it goes with the others or not."""
    kind, value = get_type_hints(type(config))[name], getattr(config, name)
    if choices := [choice for choice in get_args(kind) if isinstance(choice, str)]:
        other = next(choice for choice in choices if choice != value)
    elif isinstance(value, bool):
        other = not value
    else:
        other = "other" if isinstance(value, str) or str in get_args(kind) else (value or 0) + 2
    result = copy(config)
    object.__setattr__(result, name, other)
    return result


def outcome(config, checkpoint):
    said = []
    try:
        Checkpoints(config).load(checkpoint, "Trainer", {}, said.append)
    except FergiRewardError as refused:
        return f"refused: {refused}"
    return "".join(said)


@pytest.fixture(params=["ddpo", "flow_grpo", "nft", "reward_backprop", "diffusion_dpo"])
def config(request, tmp_path):
    kind = TRAINERS.get(request.param).target.config_class
    batch = {"sample_batch_size": 8} if "sample_batch_size" in get_type_hints(kind) else {}
    return kind(output_dir=str(tmp_path), **batch)


@pytest.fixture
def checkpoint(config):
    own = {"trainer": "Trainer", "identity": {}, "seen": [], "weights": "", "processes": config.processes}
    checkpoints = Checkpoints(config)
    checkpoints.save(1, own, lambda folder: None)
    return checkpoints.newest()


def test_every_option_is_refused_or_said_or_changes_no_weight(config, checkpoint):
    assert outcome(config, checkpoint) == ""
    names = {item.name for item in fields(config)}
    found = {name: outcome(changed(config, name), checkpoint) for name in names}
    assert {name for name, what in found.items() if not what} == SILENT & names
    assert {name for name, what in found.items() if what.startswith("refused")} == REFUSED & names
    for name in names - SILENT - {"num_processes"}:
        before, now = (repr(getattr(each, name)) for each in (config, changed(config, name)))
        assert f"{name} {before} -> {now}" in found[name]


def test_an_option_that_an_earlier_version_did_not_have_was_as_by_default(config, checkpoint):
    file = checkpoint / STATE_FILE
    state = torch.load(file, weights_only=True)
    del state["config"]["train_warmup_steps"], state["config"]["lora_target_modules"]
    torch.save(state, file)
    assert outcome(config, checkpoint) == ""
    assert "train_warmup_steps 0 -> 2" in outcome(changed(config, "train_warmup_steps"), checkpoint)
    assert "refused" in outcome(changed(config, "lora_target_modules"), checkpoint)
