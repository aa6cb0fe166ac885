"""What tells the weights of a scorer from others in any data type, without reading them all."""

from torch import Tensor, nn

from fergi_reward.files.digests import bytes_digest, record_digest

# So many of each tensor: to read all takes seconds per gigabyte.
READ_VALUES = 4096


def weights_signature(scorer: nn.Module) -> str | None:
    """A digest of the shapes and the first signs of its tensors, which no data type and no tensor's name changes.

    `weights_digest` reads all, and is another one in bfloat16. A fine-tuned copy has another signature; one whose
    tensors are only multiplied by a number has the same.

    Returns:
        None where it has no weights, or they are not loaded.
    """
    values = scorer.state_dict().values()
    tensors = [value for value in values if isinstance(value, Tensor) and value.is_floating_point()]
    if not tensors or any(value.is_meta for value in tensors):
        return None
    return record_digest(sorted(map(_digest, tensors)))


def _digest(tensor: Tensor) -> str:
    signs = tensor.detach().reshape(-1)[:READ_VALUES].signbit().cpu()
    return f"{[*tensor.shape]} {bytes_digest(signs.numpy().tobytes())}"
