"""Whether a gradient of a score gets to its pixels: that the score has one says nothing, where weights have one too."""

import torch
from torch import Tensor


class GradientPath:
    """Where the gradient of pixels ends, taken before something is asked of them: it may write into them.

    Args:
        pixels: The pixels; where they need no gradient now, everything reaches them.

    >>> pixels, weight = torch.rand(2, requires_grad=True), torch.ones(2, requires_grad=True)
    >>> path = GradientPath(pixels)
    >>> path.reached_by(weight * pixels), path.reached_by(weight * pixels.detach()), path.reached_by(pixels.detach())
    (True, False, False)
    """

    def __init__(self, pixels: Tensor) -> None:
        needs_one = torch.is_grad_enabled() and pixels.requires_grad and not torch.compiler.is_compiling()
        self._end = torch.autograd.graph.get_gradient_edge(pixels).node if needs_one else None

    def reached_by(self, score: Tensor) -> bool:
        """Whether an operation of the score's graph takes the pixels, or what was made of them.

        A step through the graph of a large tower is some microseconds for each of its operations.
        """
        if self._end is None:
            return True
        if not score.requires_grad:
            return False
        start = torch.autograd.graph.get_gradient_edge(score).node
        left, seen = [start], {start}
        while left:
            node = left.pop()
            if node is self._end:
                return True
            new = {following for following, _ in node.next_functions if following is not None} - seen
            seen |= new
            left.extend(new)
        return False
