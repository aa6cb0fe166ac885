"""HPSv3's own package. The folder: what eval/parity/hpsv3_files.py writes.

Computed in float32, but cast to bfloat16 before, as the package does it: that rounds also the frequencies of places.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from serve import serve
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration


def load(folder: Path) -> Callable[[list[str], str], list[float]]:
    """The means; `judged` gives the standard deviations, too."""
    judge = judged(folder)
    return lambda images, prompt: judge(images, [prompt] * len(images))[:, 0].tolist()


def judged(folder: Path) -> Callable[[list[str], list[str]], torch.Tensor]:
    """What the package gives of images and prompts, (B, 2)."""
    import hpsv3  # it prints while it is imported, which `serve` keeps out of the answers
    from hpsv3.inference import HPSv3RewardInferencer

    settings_file = Path(hpsv3.__file__).parent / "config" / "HPSv3_7B.yaml"
    base = Qwen2VLForConditionalGeneration(Qwen2VLConfig.from_pretrained(folder))
    base.save_pretrained(folder, max_shard_size="1GB")  # whose weights the checkpoint replaces
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as settings:
        text = settings_file.read_text().replace("Qwen/Qwen2-VL-7B-Instruct", str(folder))
        settings.write(text.replace("deepspeed:", "# deepspeed:"))
        settings.flush()
        inferencer = HPSv3RewardInferencer(settings.name, str(folder / "HPSv3.safetensors"), "cpu")
    inferencer.model.float()
    return torch.inference_mode()(inferencer.reward)


if __name__ == "__main__":
    serve(load)
