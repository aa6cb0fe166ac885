"""What the server answers is what the reward gives in the process, whoever else asks at the same time."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from fergi_reward.images import open_picture
from fergi_reward.serve.protocols.tensor_rows import MEDIA_TYPE
from tests.served import b64, picture, serving, wait_until


def test_the_answer_has_the_columns_of_the_reward_in_the_process(running):
    files = [picture(10), picture(200, (31, 17), "JPEG"), picture(90)]
    status, _, answer = running.score(prompts=["a", "bb", "ccc"], images=[b64(file) for file in files])
    output = running.reward.score([open_picture(file) for file in files], ["a", "bb", "ccc"])
    assert status == 200
    assert answer["total"] == pytest.approx(output.total.tolist(), abs=1e-6)
    assert answer["terms"] == {name: pytest.approx(one.tolist(), abs=1e-6) for name, one in output.terms.items()}
    assert answer["contributions"]["brightness"] == pytest.approx((2 * output.terms["brightness"]).tolist(), abs=1e-6)
    assert (answer["missing"], answer["errors"]) == ({}, {})
    assert answer["reward"] == running.ask("GET", "/v1/reward")[2]["reward"]


def test_one_prompt_may_be_that_of_all_and_a_picture_a_data_url(running):
    url = {"base64": "data:image/png;base64," + base64.b64encode(picture(10)).decode()}
    assert running.score(prompts="four", images=[url, url])[2]["terms"]["letters"] == [4, 4]


def test_a_bad_picture_fails_its_row_and_no_other(running):
    images = [
        b64(picture(10)),
        {"base64": "%%%"},
        b64(b"no picture"),
        b64(picture(99, (64, 64), "JPEG")[:-40]),
        b64(picture(20)),
    ]
    status, _, answer = running.score(prompts=["a", "bb", "c", "d", "eeeee"], images=images)
    assert status == 200
    assert [value is None for value in answer["total"]] == [False, True, True, True, False]
    assert answer["terms"]["letters"] == [1, None, None, None, 5]
    assert set(answer["errors"]) == {"1", "2", "3"}
    assert answer["errors"]["1"] == "the picture is not valid base64"
    assert "no image file of a format" in answer["errors"]["2"]


def test_a_row_that_a_scorer_refuses_fails_alone_and_a_fault_is_not_shown(running, capfd):
    images = [b64(picture(10))] * 4
    _, _, answer = running.score(prompts=["a", "refused", "broken", "d"], images=images)
    assert [value is None for value in answer["total"]] == [False, True, True, False]
    assert answer["errors"]["1"] == "this scorer refuses the prompt 'refused'"
    assert answer["errors"]["2"] == "the reward failed (ZeroDivisionError): the server's log says why"
    assert "a secret of the reward" in capfd.readouterr().err


def test_what_a_scorer_cannot_ask_is_no_fault_of_a_row_and_is_asked_once(running):
    asked_before = len(running.scorer.calls)
    status, headers, answer = running.score(prompts=["a", "gone", "c"], images=[b64(picture(10))] * 3)
    assert (status, answer) == (503, {"error": "the endpoint that it asks is gone"})
    assert int(headers["Retry-After"]) > 0
    assert running.scorer.calls[asked_before:] == [3]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.bfloat16])
def test_pixels_are_scored_as_the_reward_scores_pixels(running, dtype):
    pixels = torch.randint(0, 256, (3, 3, 5, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    sent = pixels if dtype == torch.uint8 else (pixels / 255).to(dtype)
    body = save({"pixels": sent}, {"prompts": json.dumps(["a", "bb", "ccc"])})
    status, _, answer = running.ask("POST", "/v1/score", body, {"Content-Type": MEDIA_TYPE})
    output = running.reward(pixels / 255 if dtype == torch.uint8 else sent, ["a", "bb", "ccc"])
    assert status == 200
    assert answer["total"] == pytest.approx(output.total.tolist(), abs=1e-6)


def test_pixels_that_are_no_numbers_fail_their_row(running):
    pixels = torch.full((3, 3, 4, 4), 0.5)
    pixels[1, 0, 0, 0] = torch.nan
    body = save({"pixels": pixels}, {"prompts": '["a", "b", "c"]'})
    _, _, answer = running.ask("POST", "/v1/score", body, {"Content-Type": MEDIA_TYPE})
    assert [value is None for value in answer["total"]] == [False, True, False]
    assert "must be finite, got NaN" in answer["errors"]["1"]


def test_callers_that_meet_are_scored_together_and_each_gets_its_own_rows():
    with serving(batch_size=64, max_wait=0.0) as running, ThreadPoolExecutor(65) as pool:
        running.scorer.go.clear()
        first = pool.submit(running.score, prompts="first", images=[b64(picture(0))])
        wait_until(lambda: running.scorer.calls)

        def ask(number):
            rows = 1 + number % 3
            images = [b64(picture((number + row) % 256, (4 + number % 5, 4))) for row in range(rows)]
            return running.score(prompts=["x" * (number + row) for row in range(rows)], images=images)

        answers = [pool.submit(ask, number) for number in range(1, 65)]
        wait_until(lambda: running.server.images.waiting == 1 + sum(1 + number % 3 for number in range(1, 65)))
        running.scorer.go.set()
        assert first.result()[2]["terms"]["letters"] == [5]
        for number, answer in enumerate((future.result() for future in answers), 1):
            rows = 1 + number % 3
            assert answer[2]["terms"]["letters"] == [number + row for row in range(rows)]
            levels = [(number + row) % 256 / 255 for row in range(rows)]
            assert answer[2]["terms"]["brightness"] == pytest.approx(levels, abs=1e-5)
        assert running.server.images.waiting == 0


def test_pictures_by_path_are_those_below_the_root(tmp_path):
    root = tmp_path / "pictures"
    (root / "deep").mkdir(parents=True)
    (root / "deep" / "a.png").write_bytes(picture(51))
    (tmp_path / "secret.png").write_bytes(picture(1))
    (root / "out.png").symlink_to(tmp_path / "secret.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    bad = [
        "../secret.png",
        str(tmp_path / "secret.png"),
        "out.png",
        "loop.png",
        "deep",
        "no.png",
        "a\0b",
        "/dev/zero",
        "",
    ]
    with serving(root=root) as running:
        images = [{"path": path} for path in ["deep/a.png", *bad]]
        _, _, answer = running.score(prompts="a", images=images)
    assert answer["terms"]["brightness"][0] == pytest.approx(0.2)
    assert answer["total"][1:] == [None] * len(bad)
    assert all("there is no picture" in sentence for sentence in answer["errors"].values())


def test_without_a_root_no_path_is_read(running, tmp_path):
    (tmp_path / "a.png").write_bytes(picture(51))
    _, _, answer = running.score(prompts="a", images=[{"path": str(tmp_path / "a.png")}])
    assert "not allowed here" in answer["errors"]["0"]


def test_a_picture_that_would_fill_the_memory_is_refused_by_its_head():
    with serving(max_pixels=100) as running:
        images = [b64(picture(5, (10, 10))), b64(picture(5, (10, 11)))]
        _, _, answer = running.score(prompts="a", images=images)
    assert [value is None for value in answer["total"]] == [False, True]
    assert answer["errors"]["1"] == (
        "cannot read the picture (it has 10 x 11 pixels and may have 100): make it smaller, or start the server with a "
        "larger --max-pixels"
    )


def test_grey_and_transparent_pictures_are_those_of_the_process(running, tmp_path):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "grey.png")
    Image.new("RGBA", (4, 4), (250, 10, 10, 30)).save(tmp_path / "clear.png")
    files = [(tmp_path / name).read_bytes() for name in ("grey.png", "clear.png")]
    _, _, answer = running.score(prompts="a", images=[b64(file) for file in files])
    assert answer["total"] == pytest.approx(running.reward.score(files, "a").total.tolist(), abs=1e-6)
