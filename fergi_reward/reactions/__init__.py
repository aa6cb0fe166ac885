"""From a face to a reaction: clips, activations, and the valence of action units.

- `video.py` on `container.py`: frames with their times; `backends/`: measure action units; `tracking.py`: whose face.
- `clip.py`: one viewer and one image, activation and valence; `clip_file.py`, `stored_clips.py`: clips on disk.
- `extract.py` with `manifest.py`, `measuring.py` and `conclusion.py`: from recordings to `folder.py`; `tombstones.py`.
- `table.py`: reactions as a table; `people.py`: what each face does without a picture.
- `sources.py`, `scale.py`: scales; `source_map.py`, `source_map_fit.py`: between them.
- `stream.py`: the activation while the viewer is still looking.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.reactions.backends import load_backend as load_backend
    from fergi_reward.reactions.backends.base import Backend as Backend
    from fergi_reward.reactions.backends.base import FaceFrame as FaceFrame
    from fergi_reward.reactions.clip import ReactionClip as ReactionClip
    from fergi_reward.reactions.clip import activation as activation
    from fergi_reward.reactions.clip import valence as valence
    from fergi_reward.reactions.folder import ReactionFolder as ReactionFolder
    from fergi_reward.reactions.source_map import SourceMap as SourceMap
    from fergi_reward.reactions.stream import ActivationStream as ActivationStream
    from fergi_reward.reactions.table import ReactionTable as ReactionTable

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "ActivationStream": "stream",
        "Backend": "backends.base",
        "FaceFrame": "backends.base",
        "ReactionClip": "clip",
        "ReactionFolder": "folder",
        "ReactionTable": "table",
        "SourceMap": "source_map",
        "activation": "clip",
        "load_backend": "backends",
        "valence": "clip",
    },
)
