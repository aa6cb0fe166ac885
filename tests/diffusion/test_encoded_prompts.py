"""Each prompt is encoded once, whatever it stands next to, by encoders that may wait on the CPU."""

from collections import Counter

import pytest
import torch

from fergi_reward.diffusion.encoded_prompts import EncodedPrompts
from fergi_reward.diffusion.family import family_of
from fergi_reward.toy import tiny
from tests.tiny_families import KINDS

CPU = torch.device("cpu")
CAT, DOG, OWL = "a cat", "a dog on a very long road " * 9, "owl"


@pytest.fixture
def counted():
    """Watches a pipeline's text encoders: how often each read how many prompts."""
    handles, calls = [], Counter()

    def watch(pipeline):
        for number, encoder in enumerate(family_of(pipeline).text_encoders):
            note = lambda _, given, named, number=number: calls.update(  # noqa: E731
                [(number, len((*given, *named.values())[0]))]
            )
            handles.append(encoder.register_forward_pre_hook(note, with_kwargs=True))
        return calls

    yield watch
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_those_of_the_pipeline_and_the_bits_do_not_depend_on_the_prompts_next_to_them(kind):
    pipeline = kind()
    encoded = EncodedPrompts(family_of(pipeline), CPU, CPU)
    together, alone = encoded([CAT, DOG, CAT]), encoded([DOG])
    plain = family_of(pipeline).encode_prompts([CAT, DOG, CAT])
    parts = ([each.prompt_embeds, *each.others.values()] for each in (together, plain, alone))
    for ours, theirs, one in zip(*parts, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        assert torch.equal(ours[1:2], one) and torch.equal(ours[0], ours[2])


def test_kept_prompts_are_encoded_once_and_forgotten_with_their_purpose(counted):
    pipeline = tiny.stable_diffusion_xl()
    calls, encoded = counted(pipeline), EncodedPrompts(family_of(pipeline), CPU, CPU)
    encoded.keep("epoch", [CAT, DOG, CAT])
    encoded.keep("grid", [CAT])
    encoded([CAT, DOG, DOG])
    assert calls == {(0, 1): 2, (1, 1): 2}
    encoded.keep("epoch", [OWL])
    encoded([CAT, OWL])
    assert calls == {(0, 1): 3, (1, 1): 3}
    encoded([DOG])
    assert calls == {(0, 1): 4, (1, 1): 4}
