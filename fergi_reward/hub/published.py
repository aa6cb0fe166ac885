"""What others published and this package loads: repositories of the hub, their licenses, revisions, files and sizes.

The sizes are about right, for tables that are printed where the hub cannot be asked: those of weights are the numbers
of parameters times the bytes of a number in the published file, those of small files the usual ones.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Loaded from a folder: configurations, vocabularies, chat templates, weights; no copy in another precision or format.
_LOADED = r"[\w-]+((\.safetensors\.index)?\.json|\.jinja|\.txt|\.model|\.safetensors)"


@dataclass(frozen=True)
class Repository:
    """A repository of the hub.

    Attributes:
        name: Its id there.
        license: License of its files, as its publishers state it.
        files: What is needed -> bytes, about. A name that ends with / is a folder: what diffusers loads of it.
        revision: The commit that was checked; else the newest.
    """

    name: str
    license: str
    files: Mapping[str, int]
    revision: str = "main"

    def needed(self, there: Iterable[str]) -> list[str]:
        """The files that are needed, among the names that the hub lists.

        >>> sd = Repository("owner/sd", "MIT", {"model_index.json": 541, "unet/": 9})
        >>> sd.needed(["model_index.json", "README.md", "unet/config.json", "unet/model.fp16.safetensors"])
        ['model_index.json', 'unet/config.json']
        """
        wanted = "|".join(re.escape(name) + (_LOADED if name.endswith("/") else "") for name in self.files)
        return [name for name in there if re.fullmatch(wanted, name)]

    def lacking(self, there: Iterable[str]) -> list[str]:
        """The parts of which there is nothing, among these names of files.

        >>> Repository("owner/sd", "MIT", {"model_index.json": 541, "unet/": 9}).lacking(["unet/config.json"])
        ['model_index.json']
        """
        known = list(there)
        return [
            part
            for part in self.files
            if not any(name == part or (part.endswith("/") and name.startswith(part)) for name in known)
        ]

    def __str__(self) -> str:
        """Files and their places, as text for users."""
        return f"{' and '.join(self.files)} of {self.name}"


BERT = Repository(
    "google-bert/bert-base-uncased",
    "Apache-2.0",
    {"vocab.txt": 231_508},
    "86b5e0934494bd15c9632b12f734a8a67f723594",
)
IMAGE_REWARD = Repository(
    "THUDM/ImageReward",
    "Apache-2.0",
    {"ImageReward.pt": 1_787_000_000, "med_config.json": 485},
    "5736be03b2652728fb87788c9797b0570450ab72",
)
PICKSCORE = Repository(
    "yuvalkirstain/PickScore_v1",
    "none stated (its code: MIT)",
    {"config.json": 4_763, "model.safetensors": 3_944_500_000},
    "a4e4367c6dfa7288a00c550414478f865b875800",
)
_HPS = ("xswu/HPSv2", "Apache-2.0")
_HPS_REVISION = "697403c78157020a1ae59d23f111aa58ced35b0a"
HPS_V2 = Repository(*_HPS, {"HPS_v2_compressed.pt": 3_944_500_000}, _HPS_REVISION)
HPS_V2_1 = Repository(*_HPS, {"HPS_v2.1_compressed.pt": 3_944_500_000}, _HPS_REVISION)
CLIP = Repository(
    "openai/clip-vit-large-patch14",
    "MIT",
    {"config.json": 4_519, "model.safetensors": 1_710_500_000},
    "32bd64288804d66eefd0ccbe215aa642df71cc41",
)
AESTHETIC = Repository(
    "trl-lib/ddpo-aesthetic-predictor",
    "Apache-2.0",
    {"aesthetic-model.pth": 3_714_000},
    "cf4bd10345610935a80a5d3be9a3133c50f121e4",
)
HPS_V3 = Repository(
    "MizzenAI/HPSv3",
    "Apache-2.0 (its code: MIT)",
    {"HPSv3.safetensors": 16_600_000_000},
    "4f81e3e09edd82fe3c5f636444c721b592a735ca",
)
QWEN2_VL = Repository(
    "Qwen/Qwen2-VL-7B-Instruct",
    "Apache-2.0",
    {"config.json": 1_200, "tokenizer.json": 7_032_000},
    "eed13092ef92e448dd6875b2a00151bd3f7db0ac",
)

SCORERS: Mapping[str, tuple[Repository, ...]] = {
    "image_reward": (IMAGE_REWARD, BERT),
    "pickscore": (PICKSCORE,),
    "hps_v2": (HPS_V2,),
    "hps_v2.0": (HPS_V2,),
    "hps_v2.1": (HPS_V2_1,),
    "clip": (CLIP,),
    "aesthetic": (AESTHETIC, CLIP),
    "hpsv3": (HPS_V3, QWEN2_VL),
}

_CLIP_TEXT = {"tokenizer/": 1_600_000, "text_encoder/": 492_300_000}
_CLIP_TEXT_16 = {"tokenizer/": 1_600_000, "text_encoder/": 247_000_000}
_COMMON = {"model_index.json": 700, "scheduler/": 500}
_STABLE_DIFFUSION_1 = {
    **_COMMON,
    **_CLIP_TEXT,
    "feature_extractor/": 500,
    "unet/": 3_438_200_000,
    "vae/": 334_600_000,
}
MODELS: Mapping[str, Repository] = {
    "stable-diffusion-v1-5": Repository(
        "stable-diffusion-v1-5/stable-diffusion-v1-5", "CreativeML OpenRAIL-M", _STABLE_DIFFUSION_1
    ),
    "stable-diffusion-v1-4": Repository("CompVis/stable-diffusion-v1-4", "CreativeML OpenRAIL-M", _STABLE_DIFFUSION_1),
    "stable-diffusion-xl-base-1.0": Repository(
        "stabilityai/stable-diffusion-xl-base-1.0",
        "CreativeML OpenRAIL++-M",
        {
            **_COMMON,
            **_CLIP_TEXT,
            "tokenizer_2/": 1_600_000,
            "text_encoder_2/": 2_778_700_000,
            "unet/": 10_270_000_000,
            "vae/": 334_600_000,
        },
    ),
    "stable-diffusion-3.5-medium": Repository(
        "stabilityai/stable-diffusion-3.5-medium",
        "Stability AI Community (to be accepted on its page)",
        {
            **_COMMON,
            **_CLIP_TEXT_16,
            "tokenizer_2/": 1_600_000,
            "text_encoder_2/": 1_389_400_000,
            "tokenizer_3/": 3_300_000,
            "text_encoder_3/": 9_525_000_000,
            "transformer/": 4_939_400_000,
            "vae/": 167_700_000,
        },
    ),
    "FLUX.1-dev": Repository(
        "black-forest-labs/FLUX.1-dev",
        "FLUX.1 [dev] Non-Commercial (to be accepted on its page)",
        {
            **_COMMON,
            **_CLIP_TEXT_16,
            "tokenizer_2/": 3_300_000,
            "text_encoder_2/": 9_525_000_000,
            "transformer/": 23_803_000_000,
            "vae/": 167_700_000,
        },
    ),
    "FLUX.2-dev": Repository(
        "black-forest-labs/FLUX.2-dev",
        "FLUX.2 [dev] Non-Commercial (to be accepted on its page)",
        {
            **_COMMON,
            "tokenizer/": 17_100_000,
            "text_encoder/": 48_022_700_000,
            "transformer/": 64_446_600_000,
            "vae/": 168_100_000,
        },
    ),
    "FLUX.2-klein-base-4B": Repository(
        "black-forest-labs/FLUX.2-klein-base-4B",
        "Apache-2.0",
        {
            **_COMMON,
            "tokenizer/": 15_900_000,
            "text_encoder/": 8_044_900_000,
            "transformer/": 7_751_100_000,
            "vae/": 168_100_000,
        },
    ),
    "Sana_1600M_1024px": Repository(
        "Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers",
        "as its page states; its text encoder: Gemma Terms of Use",
        {
            **_COMMON,
            "tokenizer/": 39_000_000,
            "text_encoder/": 5_228_700_000,
            "transformer/": 3_208_900_000,
            "vae/": 624_500_000,
        },
    ),
    "Qwen-Image": Repository(
        "Qwen/Qwen-Image",
        "Apache-2.0",
        {
            **_COMMON,
            "tokenizer/": 4_500_000,
            "text_encoder/": 16_584_000_000,
            "transformer/": 40_861_000_000,
            "vae/": 254_000_000,
        },
    ),
    "Z-Image": Repository(
        "Tongyi-MAI/Z-Image",
        "Apache-2.0",
        {
            **_COMMON,
            "tokenizer/": 15_900_000,
            "text_encoder/": 8_045_000_000,
            "transformer/": 12_310_000_000,
            "vae/": 167_700_000,
        },
    ),
    "Qwen2.5-0.5B-Instruct": Repository(
        "Qwen/Qwen2.5-0.5B-Instruct",
        "Apache-2.0",
        {
            "config.json": 659,
            "generation_config.json": 242,
            "merges.txt": 1_672_000,
            "model.safetensors": 988_100_000,
            "tokenizer.json": 7_032_000,
            "tokenizer_config.json": 7_305,
            "vocab.json": 2_776_000,
        },
    ),
}

REPOSITORIES: Mapping[str, tuple[Repository, ...]] = {
    **SCORERS,
    **{name: (model,) for name, model in MODELS.items()},
    "bert-base-uncased": (BERT,),
}
# The model of MediaPipe, which is not on the hub: see `landmarker_model`.
LANDMARKER = "face_landmarker"
ALL_SCORERS = "all-scorers"
# What `fergi-reward download` knows.
NAMES = (*REPOSITORIES, LANDMARKER, ALL_SCORERS)


def shown_bytes(number: int) -> str:
    """A size for people.

    >>> shown_bytes(485), shown_bytes(231_508), shown_bytes(999_800_000)
    ('485 B', '232 kB', '1 GB')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= 0.9995 * size:  # three digits of less are a thousand
            return f"{number / size:.3g} {unit}"
    return f"{number} B"
