import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.prompts import read_prompts, write_prompts


@pytest.mark.parametrize(
    "content",
    [
        "a cat\n\n  a dög \n".encode(),
        "\ufeffa cat\na dög".encode(),
        "a cat\r\na dög\r\n".encode(),
        "a cat\ra dög\r".encode(),
    ],
    ids=["spaces and empty lines", "byte order mark", "CRLF", "CR"],
)
def test_prompts_are_the_lines_that_are_not_empty(tmp_path, content):
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    assert read_prompts(path) == ["a cat", "a dög"]


def test_a_prompt_is_not_cut_at_u2028_u0085_or_a_form_feed(tmp_path):
    prompts = ["a\u2028cat", "a\x85dog", "a\x0cbird", "a\x1dfish"]
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(prompts), encoding="utf-8")
    assert read_prompts(path) == prompts
    write_prompts(path, [*prompts, "two\nlines", "half \ud800"])
    assert read_prompts(path) == [*prompts, "two lines", "half ?"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b" \n\n", "holds no prompt"),
        (b"a\n\xff\n", "line 2 is not UTF-8"),
        (b"a\n\n\xed\xa0\x80\n", "line 3 is not UTF-8"),
        ("a cat".encode("utf-16"), "line 1 begins with the mark of UTF-16"),
        (b"a\0\n", "line 1 holds a NUL"),
        (b"a\n\xef\xbb\xbfb\n", "line 2 begins with a second byte order mark"),
        (None, "cannot be read"),
    ],
)
def test_prompt_files_that_are_none(tmp_path, content, message):
    path = tmp_path / "prompts.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FergiRewardError, match=message):
        read_prompts(path)
