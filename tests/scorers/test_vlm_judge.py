"""The scorer `vlm_judge` against an imitation of a server that misbehaves in every way we know of."""

import json
import math
import re
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from fergi_reward.core.errors import FergiRewardError, UnavailableError
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.scorers.vlm_judge import JudgeOptions, VLMJudge, read_options, score_of
from tests.command_line import invoke
from tests.scorers.imitation import MODEL, drip, imitation, picture, question, says, tokens

FAST = {"backoff": 0.001, "retries": 2, "timeout": 5.0, "patience": 10.0}
LOG = math.log


def judge(server, **options):
    return VLMJudge(JudgeOptions(**{"url": server.url, "model": MODEL, **FAST, **options}))


def pixels(count=1, side=8):
    """Pictures of one colour each, which the imitation can tell apart."""
    return torch.stack([torch.full((3, side, side), number / 255) for number in range(count)])


def number_of(request):
    return picture(request).getpixel((0, 0))[0]


def score(options, text, logprobs=None, **more):
    return score_of(says(text, logprobs, **more)["choices"][0], JudgeOptions(url="http://x", model="m", **options))


# What an answer says.


def test_the_expected_value_over_the_answers_tokens():
    found = score({}, "Yes", tokens({"Yes": LOG(0.6), "yes": LOG(0.1), " No": LOG(0.2), "Maybe": LOG(0.1)}))
    assert found == pytest.approx(0.7 / 0.9)
    levels = {"answers": {"1": 1, "2": 2, "3": 3}}
    found = score(levels, "2", tokens({"\n": LOG(0.9)}, {"2": LOG(0.5), "3": LOG(0.25), "1": LOG(0.25)}))
    assert found == pytest.approx(2.0)


def test_without_log_probabilities_the_text_is_read():
    assert [score({}, text) for text in ("Yes", " **no**.", "YES!\n")] == [1, 0, 1]
    assert score({"range": [1, 5]}, "I would say 3.5.") == 3.5
    scale = {"range": [0, 100], "pattern": r"Final Score: (-?[\d.]+)"}
    assert score(scale, "1. It shows a cat.\n2. Sharp.\nFinal Score: 87") == 87


@pytest.mark.parametrize(
    ("options", "answer", "why"),
    [
        ({}, says("I'm sorry, I can't help with that."), "must be yes or no alone"),
        ({}, says("Yes and no"), "must be yes or no alone"),
        ({}, says(None, refusal="It shows a person."), "refused"),
        ({}, says("yes", reason="content_filter"), "refused"),
        ({}, says(None), "must be a text"),
        ({}, says("  "), "must be a text"),
        ({}, {"choices": [{}]}, "must be a text"),
        ({}, says("The", tokens({"The": LOG(0.9), "Yes": LOG(0.05)})), "5.0% of its probability is on yes, no"),
        ({}, says("Yes", tokens({"Yes": "high"})), "no numbers of at most 0"),
        ({}, says("Yes", tokens({"Yes": 0.7})), "no numbers of at most 0"),
        ({}, says("Yes", tokens({"Yes": LOG(0.9), "No": LOG(0.8)})), "add up to 1.7"),
        ({"range": [1, 5]}, says("4 out of 5"), "2 numbers"),
        ({"range": [1, 5]}, says("about four"), "no number"),
        ({"range": [1, 5]}, says("7"), "7, outside of 1 to 5"),
        ({"range": [1, 5]}, says("-1"), "-1, outside of 1 to 5"),
        ({"range": [1, 50]}, says("The score is 4", reason="length"), "cut off"),
        ({"range": [1, 5], "pattern": "Score: (.*)"}, says("Score: nan"), "outside of 1 to 5"),
        ({"range": [1, 5], "pattern": "Score: (.*)"}, says("Score: high"), "is no number"),
    ],
)
def test_what_is_no_clear_answer_is_an_error(options, answer, why):
    with pytest.raises(FergiRewardError, match=why):
        score_of(answer["choices"][0], JudgeOptions(url="http://x", model="m", **options))


# How it asks.


def test_it_sends_the_picture_and_the_prompt_and_each_question_once():
    with imitation(lambda request, _: says("yes" if number_of(request) == 1 else "no")) as server:
        judged = judge(server)
        shown = pixels(3)[[0, 1, 1, 2]]
        prompts = ["a {cat}", "a dog", "a dog", "a \u5317"]
        assert judged(shown, prompts) == [0, 1, 1, 0]
        assert judged(shown[1:2], ["a dog"]) == [1]  # kept
        assert sorted(map(question, server.asked)) == sorted(
            f'Does this picture show "{prompt}"? Answer with one word, yes or no.' for prompt in dict.fromkeys(prompts)
        )
        request = server.asked[0]
        assert picture(request).size == (8, 8)
        assert (request["model"], request["temperature"], request["logprobs"]) == (MODEL, 0, True)
        assert judged.usage.requests == 3
        assert (judged.usage.prompt_tokens, judged.usage.completion_tokens) == (300, 6)


def test_many_threads_ask_at_once_but_no_more_than_it_may():
    def slow(request, _):
        time.sleep(0.05)
        return says(str(number_of(request)))

    with imitation(slow) as server:
        judged = judge(server, range=[0, 255], concurrency=4)
        assert judged(pixels(12), ["a cat"] * 12) == list(range(12))
        assert server.most == 4


@pytest.mark.parametrize(
    "once",
    [
        (429, {"error": "busy"}, {"Retry-After": "0"}),
        (503, b"", {}),
        (500, b"Traceback ...", {}),
        b"HTTP/1.0 200 OK\r\nContent-Length: 999\r\n\r\n" + json.dumps(says("yes")).encode()[:40],
        b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(says("yes")).encode()[:40],
        b"",
        b"not HTTP at all\r\n\r\n",
        {"model": MODEL, "choices": []},
        {"model": MODEL, "error": "overloaded"},
        [1],
        (200, b'{"choices": [{"message": {"content": NaN}}]}', {}),
    ],
    ids=["429", "503", "500", "cut off", "half JSON", "closed", "no HTTP", "no choices", "error in 200", "list", "NaN"],
)
def test_what_may_pass_is_asked_again(once):
    with imitation(lambda _, number: once if number < 2 else says("yes")) as server:
        judged = judge(server)
        assert judged(pixels(), ["a cat"]) == [1.0]
        assert (judged.usage.requests, judged.usage.repeated) == (3, 2)
    with imitation(lambda *_: once) as server, pytest.raises(FergiRewardError, match=r"asked 3 x") as failed:
        judge(server)(pixels(), ["a cat"])
    assert len(server.asked) == 3
    assert server.url in str(failed.value)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((401, {"error": "key sk-secret is wrong"}, {}), "refuses the key .status 401.: JUDGE_KEY holds another"),
        ((404, {"error": "no such model"}, {}), "does not know the address or the model"),
        ((307, b"", {"Location": "http://127.0.0.1:1/v1"}), "redirects to http://127.0.0.1:1/v1: if you trust it"),
        ({**says("yes"), "model": "gpt-other"}, "answers as 'gpt-other', asked was 'judge-7b'"),
        ((429, b"later", {"Retry-After": "3600"}), "is not available .status 429.*asked 1 x"),
    ],
    ids=["401", "404", "redirect", "wrong model", "an hour"],
)
def test_what_concerns_every_picture_ends_the_run_at_once(answer, why, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    with imitation(lambda *_: answer) as server:
        with pytest.raises(UnavailableError, match=why) as failed:
            judge(server, key_from="JUDGE_KEY", concurrency=1)(pixels(5), ["a cat"] * 5)
        assert len(server.asked) == 1
        assert server.headers[0]["Authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in str(failed.value)


def test_a_server_that_is_silent_drips_or_is_not_there_is_left_in_time():
    def silent(*_):
        time.sleep(0.5)
        return says("yes")

    started = time.monotonic()
    for answer in (silent, lambda *_: drip(json.dumps(says("yes")).encode(), 0.05)):
        with imitation(answer) as server, pytest.raises(UnavailableError, match="cannot be asked"):
            judge(server, timeout=0.2, patience=0.3)(pixels(), ["a cat"])
    with pytest.raises(UnavailableError, match="Connection refused"):
        judge(server)(pixels(), ["a cat"])
    assert time.monotonic() - started < 6


def test_what_was_answered_before_the_end_is_not_asked_again():
    with imitation(lambda _, number: says("yes") if number < 2 else (401, b"", {})) as server:
        judged = judge(server, concurrency=1)
        with pytest.raises(UnavailableError):
            judged(pixels(4), ["a cat"] * 4)
        server.answer = lambda *_: says("no")
        assert judged(pixels(4), ["a cat"] * 4) == [1, 1, 0, 0]


def test_one_picture_without_an_answer_does_not_cost_the_others_theirs():
    def answer(request, _):
        return says("hm" if number_of(request) == 2 else "yes")

    with imitation(answer) as server:
        judged = judge(server)
        with pytest.raises(FergiRewardError, match=r"gave no score for the prompt 'two'.*'hm'"):
            judged(pixels(4), ["nought", "one", "two", "three"])
        assert judged(pixels(2), ["nought", "one"]) == [1, 1]
        assert len(server.asked) == 4


def test_a_question_that_is_refused_is_an_error_of_its_picture_alone_and_shows_no_key(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    refusal = 400, {"error": "too large, sent with sk-secret"}, {}
    with imitation(lambda request, _: refusal if number_of(request) == 1 else says("yes")) as server:
        judged = judge(server, key_from="JUDGE_KEY")
        with pytest.raises(FergiRewardError, match=r"status 400.*too large, sent with \*\*\*") as failed:
            judged(pixels(2), ["a cat"] * 2)
        assert not isinstance(failed.value, UnavailableError)
        assert "sk-secret" not in str(failed.value)
        assert len(server.asked) == 2


@pytest.mark.parametrize(("limit", "asked"), [({"budget_requests": 3}, 3), ({"budget_tokens": 250}, 3)])
def test_the_budget_is_kept(limit, asked):
    with imitation(lambda *_: says("yes")) as server:
        judged = judge(server, concurrency=1, **limit)
        with pytest.raises(UnavailableError, match="has cost budget"):
            judged(pixels(6), ["a cat"] * 6)
        assert len(server.asked) == asked


def test_what_was_asked_is_added_to_a_file_also_where_a_picture_has_no_answer(tmp_path):
    with imitation(lambda request, _: says("hm" if number_of(request) == 2 else "yes")) as server:
        judged = judge(server, usage_file=str(tmp_path / "usage.jsonl"))
        judged(pixels(2), ["a cat"] * 2)
        judged(pixels(2), ["a cat"] * 2)
        with pytest.raises(FergiRewardError, match="'hm'"):
            judged(pixels(3), ["a cat"] * 3)
    lines = [json.loads(line) for line in (tmp_path / "usage.jsonl").read_text().splitlines()]
    assert [(line["requests"], line["prompt_tokens"]) for line in lines] == [(2, 200), (1, 100)]


def test_a_budget_of_tokens_needs_a_server_that_counts_them():
    with imitation(lambda *_: {**says("yes"), "usage": None}) as server:
        assert judge(server)(pixels(), ["a cat"]) == [1.0]
        with pytest.raises(UnavailableError, match="budget_tokens cannot be kept"):
            judge(server, budget_tokens=10)(pixels(), ["a cat"])


# Its file.


def write(path, server_url="http://127.0.0.1:1/v1", **options):
    path.write_text(yaml.safe_dump({"url": server_url, "model": MODEL, **FAST, **options}))
    return path


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must have lines such as"),
        ("model: m", "url is missing"),
        ("url: http://x:port\nmodel: m", "url is no address"),
        ("url: http://x/v1?key=sk-secret\nmodel: m", "neither . nor #"),
        ("url: ftp://x\nmodel: m", "url must begin with http"),
        ("url: http://me:sk-secret@host/v1\nmodel: m", "url holds a user or password"),
        ("url: http://x\nmodel: m\nkey_from: sk-secret", "key_from must be the name of an environment variable"),
        ("url: http://x\nmodel: m\napi_key: sk-secret", "no option api_key, there are url, model"),
        ("url: http://x\nmodel: m\nquestion: Is it good?", "does not contain {prompt}"),
        ("url: http://x\nmodel: m\nanswers: {yes: 1, no: 0}", 'write "yes"'),
        ("url: http://x\nmodel: m\nanswers: {1: 1, 10: 10}", "may begin with one token"),
        ("url: http://x\nmodel: m\nanswers: {a: 1, b: 1}", "two of different worth"),
        ("url: http://x\nmodel: m\nanswers: {a: 1, b: .nan}", "answers is"),
        ("url: http://x\nmodel: m\nrange: [5, 1]", "the lower one first"),
        ("url: http://x\nmodel: m\nrange: [1, 5]\nanswers: {a: 1, b: 2}", "choose one"),
        ("url: http://x\nmodel: m\nrange: [1, 5]\npattern: '('", "no regular expression"),
        ("url: http://x\nmodel: m\nrequest: {stream: true}", "request has stream"),
        ("url: http://x\nmodel: m\nrequest: {day: 2026-01-01}", "request cannot be sent as JSON"),
        ("url: http://x\nmodel: m\nanswers: {}", "two of different worth"),
        ("url: http://x\nmodel: m\npattern: x", "of which range must say the limits"),
        ("url: http://x\nmodel: m\nretries: many\ntimeout: -1", "retries is 'many', must be a whole number"),
        ("url: http://x\nmodel: m\nkey_from: NO_SUCH_VARIABLE_HERE", "NO_SUCH_VARIABLE_HERE must hold the key"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence_without_the_key(tmp_path, text, why):
    path = tmp_path / "judge.yaml"
    path.write_text(text)
    with pytest.raises(FergiRewardError, match=why) as refused:
        VLMJudge(path)
    assert "sk-secret" not in str(refused.value)


def test_without_a_file_or_with_none_that_is_there_it_says_so(tmp_path):
    with pytest.raises(FergiRewardError, match=r"--checkpoints vlm_judge=judge\.yaml"):
        load_scorer("vlm_judge")
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(FergiRewardError, match="cannot read the judge"):
            load_scorer("vlm_judge", path)


def test_the_files_in_the_docs_can_be_used():
    page = Path(__file__).parents[2] / "docs" / "SCORERS.md"
    files = re.findall(r"^```yaml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    worth = [JudgeOptions(**yaml.safe_load(text)).worth for text in files]
    assert worth == [{"yes": 1, "no": 0}, {}]


def test_its_digest_is_what_a_score_depends_on(tmp_path, monkeypatch):
    monkeypatch.setenv("ONE", "a")
    monkeypatch.setenv("OTHER", "b")
    path = tmp_path / "judge.yaml"

    def digest(**options):
        return load_scorer("vlm_judge", write(path, **options)).weights_digest()

    same = [digest(), digest(key_from="ONE"), digest(key_from="OTHER"), digest(timeout=9.0, concurrency=1)]
    same += [digest(answers={"yes": 1, "no": 0}), digest(budget_requests=7)]
    assert len(set(same)) == 1
    others = [digest(model="other"), digest(question="{prompt}?"), digest(server_url="http://other/v1")]
    others += [digest(answers={"yes": 1, "no": -1}), digest(range=[1, 5]), digest(request={"seed": 1})]
    assert len({*same, *others}) == 7


def test_it_is_in_a_reward_and_its_model_card_by_its_file(tmp_path):
    with imitation(lambda *_: says("Yes", tokens({"Yes": LOG(0.75), "No": LOG(0.25)}))) as server:
        path = write(tmp_path / "judge.yaml", server.url)
        reward = CombinedReward({"vlm_judge": 2.0}, checkpoints={"vlm_judge": path})
        assert reward(pixels(), ["a cat"]).total.tolist() == pytest.approx([1.5])
        assert reward.without_gradient == ["vlm_judge"]
        card = reward.describe()["scorers"]["vlm_judge"]
        assert card["described"]["model"] == MODEL
        assert "yes" in card["described"]["answers"]
        assert read_options(path).worth == {"yes": 1, "no": 0}


# In bulk.


@pytest.fixture
def manifest(tmp_path):
    for number in range(4):
        Image.new("RGB", (8, 8), (number,) * 3).save(tmp_path / f"{number}.png")
    table = pd.DataFrame({"image": [f"{number}.png" for number in range(4)], "prompt": "a cat"})
    table.to_csv(tmp_path / "manifest.csv", index=False)
    return tmp_path / "manifest.csv"


def score_command(manifest, judge_file):
    named = f"vlm_judge={judge_file}"
    out = manifest.with_name("scores.csv")
    options = ["--scorers", "vlm_judge", "--checkpoints", named, "--batch-size", "2", "--out", out]
    return invoke(["score", "--images", manifest, *options]), out


def test_a_row_without_an_answer_is_listed_and_the_others_are_asked_once(manifest, tmp_path):
    with imitation(lambda request, _: says("hm" if number_of(request) == 1 else "yes")) as server:
        result, out = score_command(manifest, write(tmp_path / "judge.yaml", server.url))
        assert result.exit_code == 3, result.output
        assert pd.read_csv(out)["vlm_judge"].tolist() == [1, 1, 1]
        errors = pd.read_csv(f"{out}.errors.csv")
        assert errors["image"].tolist() == ["1.png"]
        assert "'hm', must be yes or no alone" in errors["error"][0]
        assert sorted(map(number_of, server.asked)) == [0, 1, 1, 2, 3]


def test_a_server_that_ends_stops_the_run_which_then_resumes(manifest, tmp_path):
    with imitation(lambda _, number: says("yes") if number < 2 else (401, b"", {})) as server:
        result, out = score_command(manifest, write(tmp_path / "judge.yaml", server.url))
        assert result.exit_code == 2, result.output
        assert "refuses the key" in result.stderr
        assert not out.exists()
        server.answer = lambda *_: says("no")
        result, out = score_command(manifest, tmp_path / "judge.yaml")
        assert result.exit_code == 0, result.output
        assert pd.read_csv(out)["vlm_judge"].tolist() == [1, 1, 0, 0]
