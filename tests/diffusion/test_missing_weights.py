"""A folder whose files lack weights is refused: the libraries would draw with random ones."""

import logging

import pytest
from diffusers.utils import logging as of_diffusers
from safetensors.torch import load_file, save_file
from transformers.utils import logging as of_transformers

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.toy import tiny
from tests.tiny_families import KINDS

LIBRARIES = (of_diffusers, of_transformers)


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


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR])
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_folder_that_lacks_a_weight_is_refused(saved, part, level):
    folder = saved(tiny.stable_diffusion)
    file = next((folder / part).glob("*.safetensors"))
    whole = file.read_bytes()
    name, *others = load_file(file).items()
    save_file(dict(others), file, metadata={"format": "pt"})
    levels = [library.get_verbosity() for library in LIBRARIES]
    for library in LIBRARIES:
        library.set_verbosity(level)  # as DIFFUSERS_VERBOSITY=error and its like do
    try:
        with pytest.raises(FergiRewardError, match=f"lacks weights, such as {name[0]}, and would have random ones"):
            load_pipeline(str(folder))
        assert [library.get_verbosity() for library in LIBRARIES] == [level, level]
    finally:
        file.write_bytes(whole)
        for library, before in zip(LIBRARIES, levels, strict=True):
            library.set_verbosity(before)
    load_pipeline(str(folder))
