"""What others published: where it is, what its files are, and getting them.

- `published.py`: repositories, licenses, revisions, files and sizes; `published_fetch.py`: gets them;
  `published_state.py`: what of them is here; `checksums.py`: the digests next to a copy.
- `download.py`: one file, resumed and checked; `asking.py`: what the hub's errors mean.
- `licenses.py`: under which licenses; `landmarker_model.py`: MediaPipe's model.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.hub.published_fetch import fetch as fetch

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "fetch": "published_fetch",
    },
)
