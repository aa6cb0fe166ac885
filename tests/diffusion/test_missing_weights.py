"""A folder whose files lack weights is refused: the libraries would draw with random ones."""

import pytest
from safetensors.torch import load_file, save_file

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.toy import tiny
from tests.tiny_families import KINDS


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a tiny model that was saved whole, by its kind."""
    folders = {}

    def save(kind):
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp(kind.__name__)
            kind().save_pretrained(folders[kind])
        return folders[kind]

    return save


# Stable Diffusion 3's tiny one has no third text encoder: diffusers does not load what it saved without one.
@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind is not tiny.stable_diffusion_3], ids=lambda kind: kind.__name__
)
def test_a_whole_folder_is_loaded(saved, kind):
    assert type(load_pipeline(str(saved(kind)))) is type(kind())


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_folder_that_lacks_a_weight_is_refused(saved, part):
    folder = saved(tiny.stable_diffusion)
    file = next((folder / part).glob("*.safetensors"))
    whole = file.read_bytes()
    name, *others = load_file(file).items()
    save_file(dict(others), file, metadata={"format": "pt"})
    try:
        with pytest.raises(FergiRewardError, match=f"lacks weights, such as {name[0]}, and would have random ones"):
            load_pipeline(str(folder))
    finally:
        file.write_bytes(whole)
    load_pipeline(str(folder))
