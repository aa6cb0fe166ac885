"""Preferences with reactions: what viewers ranked, what scorers say of it, what their faces did.

- `table.py`: the preference table and its pairs; `layouts.py`: reads a folder of either layout.
- `fergi.py`, `fergi_fetch.py`: FERGI and getting it; `simulated.py`: made-up viewers in the same layout.
- `judgements.py`: human judgements of any kind as pairs, without faces; `judgement_files/` reads them from tables.
- `pair_sketch.py`: a small sample of pairs, by which their part in other judgements is estimated.
- `options.py`: options that name preferences.
- `extracted.py`: folders of `fergi-reward extract`; `shown_pictures.py`: the pictures that viewers saw.
- `training_consent.py`: whose reactions models may be trained on.
"""

from typing import TYPE_CHECKING

from fergi_reward.core.lazy import exports

if TYPE_CHECKING:
    from fergi_reward.data.fergi import read_fergi as read_fergi
    from fergi_reward.data.layouts import read_preferences as read_preferences
    from fergi_reward.data.layouts import read_reactions as read_reactions
    from fergi_reward.data.simulated import write_simulated_fergi as write_simulated_fergi
    from fergi_reward.data.table import Pairs as Pairs
    from fergi_reward.data.table import PreferenceTable as PreferenceTable
    from fergi_reward.data.training_consent import for_training as for_training

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Pairs": "table",
        "PreferenceTable": "table",
        "for_training": "training_consent",
        "read_fergi": "fergi",
        "read_preferences": "layouts",
        "read_reactions": "layouts",
        "write_simulated_fergi": "simulated",
    },
)
