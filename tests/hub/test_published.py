import pytest
import torch

from fergi_reward.diffusion.published import PUBLISHED, on_meta
from fergi_reward.hub.published import MODELS
from fergi_reward.scorers.registry import scorer_table

# Bytes of a number as these repositories publish them.
WIDTHS = {"stable-diffusion-v1-4": 4, "stable-diffusion-v1-5": 4, "stable-diffusion-xl-base-1.0": 4}


@pytest.mark.parametrize("name", PUBLISHED.builtin, ids=lambda name: name.rpartition("/")[2])
def test_the_sizes_of_a_model_follow_from_its_architecture(name):
    repository = next(model for model in MODELS.values() if model.name == name)
    modules = {place: part for place, part in on_meta(name).components.items() if isinstance(part, torch.nn.Module)}
    assert {f"{place}/" for place in modules} == {file for file, size in repository.files.items() if size > 10**8}
    for place, module in modules.items():
        values = {id(value): value for value in module.state_dict(keep_vars=True).values()}  # tied ones once
        numbers = sum(value.numel() for value in values.values())
        width = WIDTHS.get(name.rpartition("/")[2], 2)
        assert repository.files[f"{place}/"] == pytest.approx(width * numbers, rel=0.01)


def test_scorers_have_all_their_files_sizes_and_licenses():
    table = {row["name"]: row for row in scorer_table()}
    assert table["aesthetic"]["license"] == "Apache-2.0; MIT"
    assert "vocab.txt of google-bert/bert-base-uncased" in table["image_reward"]["files"]
    # ImageReward has 446 million parameters, PickScore and HPS 986, CLIP 428: 4 bytes each.
    sizes = {"image_reward": "1.79 GB", "pickscore": "3.94 GB", "hps_v2.1": "3.94 GB", "clip": "1.71 GB"}
    assert {name: table[name]["size"] for name in sizes} == sizes
