"""Prompts as the network reads them: each is encoded once, and kept for as long as it is wanted."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager

import torch

from fergi_reward.core.parking import visiting
from fergi_reward.core.transfers import sent
from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.family import Family


class EncodedPrompts:
    """The prompts of a run.

    They are encoded one at a time: the last bits of an encoding can depend on the prompts of its batch, and a resumed
    run, which has others left to encode, must get the same bits.

    Args:
        family: Whose text encoders encode.
        device: Where they do, and where the network reads their output.
        home: Where the text encoders and what is kept wait meanwhile.
    """

    def __init__(self, family: Family, device: torch.device, home: torch.device) -> None:
        self._family, self._device, self._home = family, device, home
        self._kept: dict[str, dict[str, Conditioning]] = {}

    def keep(self, purpose: str, prompts: Iterable[str]) -> None:
        """Encode prompts and keep them, in place of all others that were kept for this purpose."""
        self._kept[purpose] = self._encoded(prompts)

    def __call__(self, prompts: Sequence[str]) -> Conditioning:
        """The conditioning of B images on the device; prompts that are not kept are encoded for this call alone."""
        encoded = self._encoded(prompts)
        rows = Conditioning.cat([encoded[prompt] for prompt in prompts])
        return rows.map(lambda tensor: sent(tensor, self._device))

    def encoders_on_device(self) -> AbstractContextManager[None]:
        """The text encoders on the device, inside the block."""
        return visiting(self._device, *self._family.text_encoders)

    def _encoded(self, prompts: Iterable[str]) -> dict[str, Conditioning]:
        """Each prompt's conditioning, B = 1, where it waits."""
        wanted = dict.fromkeys(prompts)
        known = {prompt: encoded for kept in self._kept.values() for prompt, encoded in kept.items()}
        if missing := [prompt for prompt in wanted if prompt not in known]:
            with self.encoders_on_device():
                known |= {prompt: self._encode(prompt) for prompt in missing}
        return {prompt: known[prompt] for prompt in wanted}

    def _encode(self, prompt: str) -> Conditioning:
        return self._family.encode_prompts([prompt]).map(lambda tensor: tensor.to(self._home))
