"""LAION's aesthetic predictor (github.com/christophschuhmann/improved-aesthetic-predictor): how good an image looks.

LAION published two heads on CLIP ViT-L/14 with this purpose: `sa_0_4_vit_l_14_linear.pth`, one linear layer, and
`sac+logos+ava1-l14-linearMSE.pth`, five without activations, which therefore are a linear function too. ImageReward's
package, DDPO and AlignProp use the second, and so does this scorer.

FERGI's column Aesthetic_score is neither: it lies between 0.008 and 0.052, where LAION's heads say about 5, and does
not go with the participants' fidelity ratings (Spearman correlation 0.015). Do not mix the two.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from torch import Tensor, nn

from fergi_reward.hub.published import AESTHETIC, CLIP
from fergi_reward.scorers.base import Option
from fergi_reward.scorers.checkpoints import Checkpoint, load_weights, read_json
from fergi_reward.scorers.clip import (
    CLIPImageScorer,
    config_record,
    number_positions,
    without_positions,
)
from fergi_reward.scorers.image_reward import linear_head

if TYPE_CHECKING:
    from transformers import CLIPVisionConfig

_FILES = f"{AESTHETIC}, and {CLIP}"
_CLIP = Checkpoint(CLIP.name, CLIP.revision, scorer="aesthetic", files=_FILES)


class AestheticScorer(CLIPImageScorer):
    """The score is an expected rating from 1 to 10; the prompt is not read.

    The checkpoint is `aesthetic-model.pth`: the head, as TRL's developers put it on the hub. The image tower is CLIP's
    (`config.json` and `model.safetensors`), from the hub too unless the folder has it.

    Args:
        config: Sizes of CLIP's image tower; the weights are random until some are loaded.
    """

    name = "aesthetic"
    license = AESTHETIC.license
    files = _FILES
    default_checkpoint = AESTHETIC.name
    parameter_count = 304_000_000
    revision = AESTHETIC.revision

    def __init__(self, config: "CLIPVisionConfig") -> None:
        from transformers import CLIPVisionModelWithProjection

        super().__init__()
        self.model = CLIPVisionModelWithProjection(config)
        self.sizes = config_record(config)
        self.head = linear_head(config.projection_dim)
        self.size = cast(Any, config).image_size

    @classmethod
    def _sized(cls, checkpoint: Checkpoint, **options: Option) -> Self:
        from transformers import CLIPConfig

        config: Any = CLIPConfig.from_dict(read_json(_tower(checkpoint).file("config.json")))
        config.vision_config.projection_dim = config.projection_dim
        return cls(config.vision_config, **options)

    def _fill(self, checkpoint: Checkpoint) -> None:
        load_weights(self.head, checkpoint.file("aesthetic-model.pth"), lambda key: key.removeprefix("layers."))
        load_weights(self.model, _tower(checkpoint).file("model.safetensors"), _of_images)
        number_positions(self.model.vision_model)

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Nothing: (batch, 0)."""
        return torch.empty(len(prompts), 0, dtype=torch.float32, device=self.device)

    def compare(self, images: Tensor, texts: Tensor) -> Tensor:
        """The head's value for each image, (batch,)."""
        return self.head(images).squeeze(-1)

    def towers(self) -> Sequence[nn.Module]:
        """CLIP's vision transformer."""
        return [self.model.vision_model]


def _tower(checkpoint: Checkpoint) -> Checkpoint:
    return checkpoint if checkpoint.extra("model.safetensors") else _CLIP


def _of_images(key: str) -> str | None:
    return without_positions(key) if key.startswith(("vision_model.", "visual_projection.")) else None
