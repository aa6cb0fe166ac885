"""The options that say which preferences and reactions are read; nothing heavy is imported."""

from dataclasses import dataclass
from pathlib import Path

from fergi_reward.core.options import Options, option

FERGI_PLACE = "[default: $FERGI_DATA, else where `data fetch` puts it]"
AU_SOURCE = (
    "What measured the action units of own data in FERGI's layout; of a folder of extract, which of MediaPipe's two "
    "measures is read. [default: fergi-ir50; what the folder says]"
)
IMAGES = "a CSV with the columns user, session, image, file, prompt, or the folder of FERGI's raw data."


@dataclass(frozen=True, kw_only=True)
class PreferenceDataOptions(Options):
    """Whose preferences, and what their faces did."""

    data: str | None = option(
        None, f"The FERGI folder or, with --ratings, one that extract wrote. {FERGI_PLACE}", metavar="PATH"
    )
    ratings: Path | None = option(
        None, "For a folder of extract: a CSV with user, session, image, rank and a column per scorer."
    )
    source_map: Path | None = option(
        None, "Map that map-source wrote: takes reactions from its first source to the scale of the other."
    )
    au_source: str | None = option(None, AU_SOURCE)
    from_frames: bool = option(False, "Compute the activations from the frames instead of reading them.")
    skip_bad: bool = option(False, "Leave out rows that are damaged, and list them.")
