"""Each `configs/<trainer>/<model>_paper.yaml` has the published values: `configs/published.csv`, with their sources."""

import csv
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from pytest import MonkeyPatch

from fergi_reward.cli.command import read_options
from fergi_reward.cli.config_file import config_path
from fergi_reward.core.option_types import as_text
from fergi_reward.trainers.options import PairTrainingOptions, RewardTrainingOptions
from fergi_reward.trainers.program import rehearse
from fergi_reward.trainers.registry import TRAINERS

CONFIGS = Path(__file__).parents[2] / "configs"
PAPERS = {path.relative_to(CONFIGS).with_suffix("").as_posix(): path for path in sorted(CONFIGS.glob("*/*_paper.yaml"))}
PUBLISHED = list(csv.DictReader((CONFIGS / "published.csv").read_text(encoding="utf-8").splitlines()))
# Options that no publication states, or that change no result.
OURS = {
    *("prompts", "output_dir", "seed", "save_freq", "num_checkpoint_limit", "grid_freq", "grid_num_images", "log_with"),
    *("gradient_checkpointing", "checkpoint_steps", "per_prompt_stat_tracking", "sample_num_batches_per_epoch"),
    *("train_gradient_accumulation_steps", "train_batch_size", "train_total_batch_size", "train_updates_per_epoch"),
    *("sample_total_images", "pairs", "pairs_split", "streaming", "num_epochs"),
}
# One of each trainer and model is measured: another reward or batch changes no more than that, and FLUX takes long.
MEASURED = {(Path(name).parent, Path(name).name.split("_")[0]): name for name in PAPERS if "flux" not in name}.values()
# For one card, by the published setting that their header compares them with.
FOLLOWERS = {
    path.stem: found.group(1)
    for path in sorted(CONFIGS.glob("*.yaml"))
    if (found := re.search(r"^# What differs from configs/(\S+)\.yaml", path.read_text(), re.MULTILINE))
}
# Where no resolution is given; 1024 for all others.
NATIVE = {"CompVis/stable-diffusion-v1-4": 512, "stable-diffusion-v1-5/stable-diffusion-v1-5": 512}
# What the totals over all processes tell: how often batches, updates and epochs come.
IN_TOTALS = {
    *("num_epochs", "sample_num_batches_per_epoch", "sample_total_images", "train_gradient_accumulation_steps"),
    *("train_total_batch_size", "train_updates_per_epoch"),
}
# What changes no result; told where a publication states it.
UNTOLD = {*OURS, "config", "held_out", "held_out_split"}


def read(name):
    """The options of the run and of its trainer, and the number of processes of the launch command."""
    text = (CONFIGS / f"{name}.yaml").read_text()
    processes, program = re.match(r"# (?:python|torchrun --nproc-per-node (\d+)) training/(\w+)\.py ", text).groups()
    trainer = TRAINERS.get(program).target
    records = [PairTrainingOptions if trainer.learns_from == "pairs" else RewardTrainingOptions, trainer.config_class]
    script, config = read_options(records, ["--config", str(CONFIGS / f"{name}.yaml")])
    return script, config, int(processes or 1)


@contextmanager
def started(processes):
    """As a launcher starts them: totals over all processes become batches of each."""
    with MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", str(processes))
        yield


def values(name):
    """All options by name, and what follows from them for all processes together."""
    script, config, processes = read(name)
    with started(processes):
        resolution = config.resolution or NATIVE.get(script.model, 1024)
        return {**vars(script), **vars(config), **totals(config, processes), "resolution": resolution}


def totals(config, processes):
    each = config.samples_per_epoch
    epochs = getattr(config, "train_num_inner_epochs", 1)
    return {
        "processes": processes,
        "total_images_per_epoch": each * processes,
        "total_images_per_update": each * processes * epochs // config.updates_per_epoch,
        "total_pairs_per_update": config.train_batch_size * config.accumulation_steps * processes,
        "total_updates": config.num_epochs * config.updates_per_epoch,
    }


@pytest.fixture(autouse=True)
def others_reward(monkeypatch):
    """Where a setting of Flow-GRPO looks for a reward that is not part of this package."""
    module = ModuleType("flow_grpo_rewards")
    module.geneval = lambda pixels, prompts: pixels.mean((1, 2, 3))
    monkeypatch.setitem(sys.modules, "flow_grpo_rewards", module)


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_configuration_is_the_published_setting(name):
    stated = {row["option"]: yaml.safe_load(row["value"]) for row in PUBLISHED if row["config"] == name}
    ours = values(name)
    assert {option: ours[option] for option in stated} == stated
    # Whatever else the file sets is a choice of ours that no publication states, or one of the table's.
    assert set(yaml.safe_load(PAPERS[name].read_text())) - set(stated) <= OURS


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_configuration_says_what_differs_and_what_it_takes(name):
    text, (script, config, processes) = PAPERS[name].read_text(), read(name)
    trainer = name.split("/")[0]
    launcher = f"torchrun --nproc-per-node {processes}" if processes > 1 else "python"
    assert text.startswith(f"# {launcher} training/{trainer}.py --config configs/{name}.yaml\n")
    assert "# | differs" in text
    assert config.output_dir == f"runs/{name.replace('/', '_')}"
    stated = float(text.split("--dry-run: ")[1].split(" GB")[0])
    if name in MEASURED:
        with started(processes):
            assert rehearse(script, config).peak / 1e9 == pytest.approx(stated, rel=0.1)


def differences(name, published):
    """Options whose values are not those of a published setting, with both values."""
    ours, theirs = values(name), values(published)
    unread = {option for option in ours if option.startswith("lora_")} if theirs["full_finetuning"] else set()
    if "pairs" in ours:
        unread |= {option for option in ours if option.startswith("sample_")} | {"total_images_per_update"}
    else:
        unread |= {"total_pairs_per_update"}
    stated = {row["option"] for row in PUBLISHED if row["config"] == published}
    told = sorted(set(theirs) - (UNTOLD - stated) - IN_TOTALS - unread)
    return [(option, shown(theirs[option]), shown(ours[option])) for option in told if ours[option] != theirs[option]]


def shown(value):
    return "the default" if value is None else as_text(value)


@pytest.mark.parametrize("name", FOLLOWERS)
def test_a_configuration_for_one_card_says_which_published_values_it_has_not(name):
    rows = re.findall(r"^# \| (\w+) +\| (.+?) +\| (.+?) +\|$", (CONFIGS / f"{name}.yaml").read_text(), re.MULTILINE)
    assert rows == [("option", "published", "here"), *differences(name, FOLLOWERS[name])]


def test_every_line_of_the_table_has_a_configuration_and_a_source():
    assert {row["config"] for row in PUBLISHED} == set(PAPERS)
    assert all(row["source"] and row["value"] for row in PUBLISHED)
    assert len({(row["config"], row["option"]) for row in PUBLISHED}) == len(PUBLISHED)


def test_a_configuration_in_a_folder_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_path("ddpo/sd14_aesthetic_paper") == PAPERS["ddpo/sd14_aesthetic_paper"]
