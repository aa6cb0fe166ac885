"""Files: strict readers of what people and other programs wrote, and writers that leave no half-written file.

- `ordinary_files.py`, `text_lines.py`, then one reader per format: `csv_files.py`, `csv_numbers.py`, `json_files.py`,
  `yaml_files.py`, `tensor_files.py`, `picture_files.py`, `prompts.py`; `json_records.py`: checks before dataclasses.
- `atomic.py`: files and folders written whole; `locks.py`: one writer per output.
- `digests.py`: what something is by content; `store.py`: what a run found so far; `drawn_files.py`: its pictures.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.files.prompts import read_prompts as read_prompts

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "read_prompts": "prompts",
    },
)
