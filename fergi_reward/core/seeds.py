"""Random generators derived from what they are for, so that no generator state has to be carried or saved."""

import hashlib

import torch


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator seeded by everything in `key`, e.g. `(seed, "noise", epoch, sample)`.

    A resumed run derives the same generators again, and an image's noise depends neither on the batch that the
    image is in nor on the number of processes. On the CPU, since then the noise is the same for every device.

    Example:
        >>> import torch
        >>> first, again = (torch.rand(2, generator=generator(0, "noise", 3)) for _ in range(2))
        >>> torch.equal(first, again)
        True
    """
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))


def seed_of(*key: int | str) -> int:
    """The seed of `generator(*key)`, short enough to be written down: torch's CPU generator uses no more than 32 bits.

    Example:
        >>> import torch
        >>> again = torch.Generator().manual_seed(seed_of(0, "noise", 3))
        >>> torch.equal(torch.rand(2, generator=again), torch.rand(2, generator=generator(0, "noise", 3)))
        True
    """
    return generator(*key).initial_seed() % 2**32
