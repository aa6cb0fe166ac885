"""Each `configs/<trainer>/<model>_paper.yaml` has the published values: `configs/published.csv`, with their sources."""

import csv
import re
from pathlib import Path

import pytest
import yaml

from fergi_reward.cli.command import read_options
from fergi_reward.cli.config_file import config_path
from fergi_reward.trainers.options import PairTrainingOptions, RewardTrainingOptions
from fergi_reward.trainers.program import rehearse
from fergi_reward.trainers.registry import TRAINERS

CONFIGS = Path(__file__).parents[2] / "configs"
PAPERS = {path.relative_to(CONFIGS).with_suffix("").as_posix(): path for path in sorted(CONFIGS.glob("*/*_paper.yaml"))}
PUBLISHED = list(csv.DictReader((CONFIGS / "published.csv").read_text(encoding="utf-8").splitlines()))
# Options that no publication states, or that change no result.
OURS = {
    *("prompts", "output_dir", "seed", "save_freq", "num_checkpoint_limit", "grid_freq", "grid_num_images", "log_with"),
    *("gradient_checkpointing", "per_prompt_stat_tracking", "sample_num_batches_per_epoch"),
    *("train_gradient_accumulation_steps", "pairs", "pairs_split", "streaming", "num_epochs"),
}


def read(name):
    """The options of the run and of its trainer, and the number of processes of the launch command."""
    trainer = TRAINERS.get(name.split("/")[0]).target
    records = [PairTrainingOptions if trainer.learns_from == "pairs" else RewardTrainingOptions, trainer.config_class]
    script, config = read_options(records, ["--config", str(PAPERS[name])])
    processes = int(re.match(r"# accelerate launch --num_processes (\d+) ", PAPERS[name].read_text()).group(1))
    return script, config, processes


def values(name):
    """All options by name, and what follows from them for all processes together."""
    script, config, processes = read(name)
    each = config.samples_per_epoch
    epochs = getattr(config, "train_num_inner_epochs", 1)
    totals = {
        "processes": processes,
        "total_images_per_epoch": each * processes,
        "total_images_per_update": each * processes * epochs // config.updates_per_epoch,
        "total_updates": config.num_epochs * config.updates_per_epoch,
    }
    return {**vars(script), **vars(config), **totals}


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
    assert text.startswith(
        f"# accelerate launch --num_processes {processes} training/{trainer}.py --config configs/{name}.yaml\n"
    )
    assert "# | differs" in text
    assert config.output_dir == f"runs/{name.replace('/', '_')}"
    stated = float(text.split("--dry-run: ")[1].split(" GB")[0])
    assert rehearse(script, config).peak / 1e9 == pytest.approx(stated, rel=0.1)


def test_every_line_of_the_table_has_a_configuration_and_a_source():
    assert {row["config"] for row in PUBLISHED} == set(PAPERS)
    assert all(row["source"] and row["value"] for row in PUBLISHED)
    assert len({(row["config"], row["option"]) for row in PUBLISHED}) == len(PUBLISHED)


def test_a_configuration_in_a_folder_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_path("ddpo/sd14_aesthetic_paper") == PAPERS["ddpo/sd14_aesthetic_paper"]
