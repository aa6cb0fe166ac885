import re
import shutil
from pathlib import Path

import pytest
import torch

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.hub.published import SCORERS
from fergi_reward.scorers.registry import load_scorer, scorer_table, term_name


def test_a_scorer_comes_by_name_frozen_and_in_its_dtype(checkpoints: Path) -> None:
    scorer = load_scorer("pickscore", checkpoints / "pickscore", dtype=torch.bfloat16)
    assert scorer.name == "pickscore"
    assert not scorer.training
    assert not any(parameter.requires_grad for parameter in scorer.parameters())
    assert {tower.dtype for tower in scorer.towers()} == {torch.bfloat16}
    assert scorer.model.visual_projection.weight.dtype == torch.float32


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
@pytest.mark.parametrize(("name", "folder"), [("pickscore", "pickscore"), ("hps_v2", "hps")])
def test_only_a_full_precision_scorer_stays_mapped_to_its_file(
    checkpoints: Path, tmp_path: Path, name: str, folder: str
) -> None:
    shutil.copytree(checkpoints / folder, tmp_path, dirs_exist_ok=True)
    scorer = load_scorer(name, tmp_path, dtype=torch.bfloat16)
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    scorer = load_scorer(name, tmp_path)
    assert str(tmp_path) in Path("/proc/self/maps").read_text(), scorer.name


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        FergiRewardError, match=r"no scorer .pick.: did you mean pickscore\? installed are image_reward"
    ):
        load_scorer("pick")


def test_the_table_has_a_pinned_checkpoint_for_every_name() -> None:
    table = {row["name"]: row for row in scorer_table()}
    assert list(table) == [
        "image_reward",
        "pickscore",
        "hps_v2",
        "hps_v2.0",
        "hps_v2.1",
        "clip",
        "aesthetic",
        "hpsv3",
        "ocr",
        "vlm_judge",
    ]
    assert all(re.fullmatch("[0-9a-f]{40}", row["revision"]) for name, row in table.items() if name in SCORERS)
    assert set(map(tuple, table.values())) == {("name", "term", "license", "checkpoint", "revision", "files", "size")}
    assert (table["hps_v2.1"]["license"], table["hps_v2.1"]["checkpoint"]) == ("Apache-2.0", "xswu/HPSv2")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("image_reward", "image_reward"),
        ("pickscore", "pickscore"),
        ("hps_v2", "hps"),
        ("hps_v2.0", "hps"),
        ("hps_v2.1", "hps"),
        ("clip", "pickscore"),
    ],
)
def test_the_loaded_scorer_is_named_as_its_term(checkpoints: Path, name: str, folder: str) -> None:
    assert load_scorer(name, checkpoints / folder).name == term_name(name)
