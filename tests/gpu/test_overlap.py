"""A reward in a thread of its own really computes while sampling runs."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from fergi_reward.toy import tiny
from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer


def slow_redness(pixels: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
    """A reward that keeps one processor of the card busy for about 10 ms."""
    assert pixels.is_cuda
    torch.cuda._sleep(20_000_000)
    return pixels[:, 0].mean((1, 2))


def test_the_reward_s_kernels_run_alongside_those_of_the_sampling(tmp_path: Path, measured) -> None:
    options = {"num_epochs": 1, "sample_num_steps": 20, "sample_batch_size": 4, "sample_num_batches_per_epoch": 4}
    options |= {"train_batch_size": 4, "grid_num_images": 0, "log_with": "none", "async_reward_computation": True}
    trainer = DDPOTrainer(
        DDPOConfig(output_dir=str(tmp_path / "run"), **options), slow_redness, tiny.stable_diffusion(), ["a cat"]
    )
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as traced:
        trainer.collect(0)
    traced.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    kernels = [event for event in events if event.get("cat") == "kernel"]
    by_stream: dict[int, list[tuple[float, float]]] = {}
    for kernel in kernels:
        by_stream.setdefault(kernel["args"]["stream"], []).append((kernel["ts"], kernel["ts"] + kernel["dur"]))
    assert len(by_stream) >= 2, "all kernels ran on one stream"
    main, reward = sorted(by_stream.values(), key=len, reverse=True)[:2]
    spans = [(min(start for start, _ in part), max(end for _, end in part)) for part in (main, reward)]
    shared = min(spans[0][1], spans[1][1]) - max(spans[0][0], spans[1][0])
    overlap = sum(
        max(0.0, min(end, other_end) - max(start, other_start))
        for start, end in main
        for other_start, other_end in reward
        if other_start < end and start < other_end
    )
    measured("microseconds in which kernels of both ran at once", overlap)
    assert shared > 0
    assert overlap > 0
