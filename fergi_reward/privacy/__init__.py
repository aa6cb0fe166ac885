"""A participant who withdraws is deleted everywhere.

- `forgetting.py`: the command `forget`; `people_files.py`: files that hold a person.
- `study_files.py`: a study of `collect`; `study_database.py`: its database; `study_videos.py`: its videos.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.privacy.forgetting import Forgotten as Forgotten
    from fergi_reward.privacy.forgetting import forget as forget

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Forgotten": "forgetting",
        "forget": "forgetting",
    },
)
