"""UniRL's and the pickled protocol, by what their callers send and read; pickles that would run code are refused."""

import base64
import pickle
import struct

import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.serve.protocols.plain_pickle import plain_pickle
from tests.served import picture


def asked(text="abc", rewards=("fergi",), level=10, **more):
    shown = {"text": text, "image_b64": base64.b64encode(picture(level)).decode()}
    return {"history": [shown], "required_rewards": list(rewards), "metadata": None, **more}


def unirl(running, *requests, **more):
    return running.ask("POST", "/score", {"protocol_version": "1", "requests": list(requests), **more})


def test_unirl_reads_total_first_then_terms_and_finds_its_requests_again(running):
    identity = {"request_id": "r1", "sample_id": "s", "group_id": None, "source_rank": 3, "policy_version": 7}
    status, _, answer = unirl(
        running,
        asked("abc", ["fergi", "letters"], idempotency_key="k", scorer_version=None, **identity),
        asked("abcd", ["letters"]),
    )
    assert status == 200
    assert next(iter(answer["results"][0]["fergi"])) == "total"
    assert answer["results"][0]["fergi"]["total"] == pytest.approx(2 * 10 / 255 + 3)
    assert [row["letters"] for row in answer["results"]] == [{"score": 3}, {"score": 4}]
    assert answer["errors"] == [{}, {}]
    version = running.ask("GET", "/v1/reward")[2]["reward"]
    assert answer["identities"][0] == {**identity, "idempotency_key": "k", "scorer_version": version}


def test_unirl_is_told_of_each_image_that_failed(running):
    bad = asked()
    bad["history"][0]["image_b64"] = base64.b64encode(b"no picture").decode()
    _, _, answer = unirl(running, asked(), bad)
    assert answer["results"][1] == {}
    assert "no image file" in answer["errors"][1]["fergi"]
    assert answer["results"][0]["fergi"]["total"] > 0


def test_of_a_history_the_last_picture_is_scored(running):
    request = asked(level=10)
    request["history"] += asked(level=200)["history"]
    assert unirl(running, request)[2]["results"][0]["fergi"]["brightness"] == pytest.approx(200 / 255)


def test_unirl_finds_the_rewards_that_there_are(running):
    expected = {"fergi": ["total", "brightness", "letters"], "brightness": ["score"], "letters": ["score"]}
    assert running.ask("GET", "/health")[2] == {"status": "ok", "rewards": expected}
    assert running.ask("GET", "/rewards")[2] == expected


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (asked(rewards=["hpsv3"]), "asks for 'hpsv3': there are fergi, brightness, letters"),
        (asked(rewards=[]), "must name its `required_rewards`"),
        ({"required_rewards": ["fergi"]}, "must have a `history`"),
        ({"history": [], "required_rewards": ["fergi"]}, "must have a `history`"),
        ({"history": [{"text": "a", "video_b64": "AA=="}], "required_rewards": ["fergi"]}, "`text` and `image_b64`"),
        ("text", "must have a `history`"),
    ],
)
def test_what_unirl_cannot_have_is_refused(running, request_, why):
    status, _, answer = unirl(running, request_)
    assert (status, why in answer["error"]) == (400, True)


def test_another_version_of_unirls_protocol_is_refused(running):
    assert unirl(running, asked(), protocol_version="2")[0] == 400


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_pickled_scores_come_under_both_names(running, protocol):
    body = {
        "images": [picture(10, kind="JPEG"), picture(20)],
        "prompts": ["a", "bb"],
        "metadata": {"x": [1, None, 2.5]},
    }
    status, _, answer = running.ask("POST", "/pickle", pickle.dumps(body, protocol))
    answer = pickle.loads(answer)
    assert status == 200
    assert answer["scores"] == answer["outputs"] == pytest.approx([2 * 10 / 255 + 1, 2 * 20 / 255 + 2], abs=0.01)


def test_a_pickled_request_with_a_bad_picture_has_no_numbers_at_all(running):
    body = pickle.dumps({"images": [picture(10), b"no picture"], "prompts": ["a", "b"]})
    status, _, answer = running.ask("POST", "/pickle", body)
    assert status == 422
    assert answer["error"].startswith("image 1 has no score: cannot read the picture")


class Calls:
    def __reduce__(self):
        return eval, ("__import__('os').abort()",)


CODE = [
    pickle.dumps(Calls(), 4),
    pickle.dumps(Calls(), 0),
    pickle.dumps({"images": [Calls()], "prompts": ["a"]}),
    b"cos\nabort\n(tR.",  # GLOBAL and REDUCE
    b"(S'true'\nios\nsystem\n.",  # INST
    b"(cos\nsystem\nS'true'\no.",  # OBJ
    b"\x80\x04\x8c\x02os\x8c\x05abort\x93)R.",  # STACK_GLOBAL
    b"\x80\x02\x82\x01.",  # EXT1
    b"Pperson\n.",  # PERSID
    b"\x80\x02)Q.",  # BINPERSID
    b"\x80\x04cbuiltins\nobject\n)\x81.",  # NEWOBJ
    b"\x80\x05\x97.",  # NEXT_BUFFER
    pickle.dumps({1, 2}, 4),
    pickle.dumps(1 << 5000, 0),
    pickle.dumps(bytearray(5), 5),
]


@pytest.mark.parametrize("data", CODE, ids=range(len(CODE)))
def test_pickles_of_anything_but_plain_values_are_refused_before_they_run(data):
    with pytest.raises(FergiRewardError, match="only lists, tuples"):
        plain_pickle(data)


DAMAGED = [
    b"",
    b"\x80\x04",
    b"\x80\x04]",
    pickle.dumps([1, 2, 3])[:-3],
    b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b".",  # bytes that are not there
    b"\x80\x04e.",
    b"\x80\x04h\x09.",
    b"\x80\x04(.",
    b"\x80\x04(q\x00.",
    b"\x80\x04](a.",
    b"\x80\x04NNa.",
    b"\x80\x04)Na.",
    b"\x80\x04](Nu.",
    b"\x80\x04}(Nu.",
    b"\x80\x04NN.",
    b"\x80\x04N\x86.",
    b"\x80\x04\x8c\x02\xff\xff.",
    b"not a pickle at all",
]


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_pickles_are_one_sentence(data):
    with pytest.raises(FergiRewardError, match=r"no pickle that is read here|only lists"):
        plain_pickle(data)


def test_a_memo_takes_no_more_memory_than_its_entries():
    assert plain_pickle(b"\x80\x02Nr" + struct.pack("<I", (1 << 32) - 1) + b".") is None


@pytest.mark.parametrize(
    "key",
    [
        b")" + b"\x85" * 190_000,  # Python's own reader crashes: a hash goes through all levels
        b")" + b"q\x00h\x00\x86" * 60,  # 2 ** 60 hashes
        b"]",
        b"}",
    ],
    ids=["deep", "shared", "list", "dict"],
)
def test_keys_are_plain_values(key):
    with pytest.raises(FergiRewardError, match="neither text, bytes nor number"):
        plain_pickle(b"\x80\x02}" + key + b"Ns.")
    with pytest.raises(FergiRewardError, match="neither text, bytes nor number"):
        plain_pickle(b"\x80\x02}(" + key + b"Nu.")


def test_values_may_be_nested_as_deep_as_their_instructions_go():
    assert len(plain_pickle(b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".")) == 1


def test_a_pickle_with_too_many_instructions_is_refused():
    with pytest.raises(FergiRewardError, match="more than 200,000 instructions"):
        plain_pickle(b"\x80\x02" + b"]" + b"Na" * 150_000 + b".")


@pytest.mark.parametrize("protocol", range(2, 6))
def test_plain_values_come_back(protocol):
    value = {"a": [1, -(1 << 40), 2.5, True, None, ("x", "ü" * 300, ())], 7: {"deep": [[[]]]}, "none": [None, False]}
    value["bytes"] = b"\0" * 300 if protocol > 2 else 0
    assert plain_pickle(pickle.dumps(value, protocol)) == value


def test_shared_and_nested_values_come_back_without_growing():
    shared = [b"x" * 1000]
    for _ in range(40):  # 2 ** 40 values, were they copied
        shared = [shared, shared]
    assert plain_pickle(pickle.dumps(shared, 4))[0] is not None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([1], "must hold a dict"),
        ({"images": [b"x"]}, "must hold a dict"),
        ({"images": "abc", "prompts": ["a"]}, "images must be a list of bytes"),
        ({"images": [b"x"], "prompts": ["a", "b"]}, "there are 2 prompts for 1 images"),
        ({"images": [], "prompts": []}, "the request has 0 images"),
        ({"images": [b"x"], "prompts": [b"a"]}, "prompts must be a text"),
    ],
)
def test_other_values_than_requests_are_refused(running, value, why):
    status, _, answer = running.ask("POST", "/pickle", pickle.dumps(value))
    assert (status, why in answer["error"]) == (400, True)
