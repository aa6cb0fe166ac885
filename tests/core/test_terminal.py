from fergi_reward.core.terminal import for_terminal, one_line


def test_what_drives_a_terminal_is_written_as_escapes_and_text_stays():
    assert for_terminal("a\tred\ncat, é 北京 🐈") == "a\tred\ncat, é 北京 🐈"
    harmful = "\x1b[31m\x07\r\x9b\u202e\ud800\x7f"
    assert for_terminal(harmful) == r"\x1b[31m\x07\r\x9b\u202e\ud800\x7f"
    assert one_line("no\nfile") == r"no\nfile"
