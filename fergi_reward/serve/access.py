"""Who may ask: whoever knows the token; without one, programs on this machine, but no web page."""

import hmac
from collections.abc import Mapping
from pathlib import Path

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.ordinary_files import opened
from fergi_reward.remote_reward import LONGEST_TOKEN, check_private

SHORTEST_TOKEN = 16
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


def read_token(path: Path) -> str:
    """The token of a file that only its owner may read.

    Raises:
        FergiRewardError: It cannot be read, others may read it, or it holds no token.
    """
    try:
        with opened(path, LONGEST_TOKEN) as file:
            check_private(file.fileno(), "--token-file", path)
            text = file.read().decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not ASCII"
        raise FergiRewardError(f"--token-file {path} cannot be read ({why}): write a token into it") from error
    words = len(text.split())
    if len(text) < SHORTEST_TOKEN or words != 1:
        raise FergiRewardError(
            f"--token-file {path} holds {f'{words} words' if words != 1 else f'{len(text)} letters'}: a token is one "
            f"word of at least {SHORTEST_TOKEN} letters, such as `openssl rand -hex 32` prints"
        )
    return text


def why_refused(headers: Mapping[str, str], token: str | None) -> tuple[int, str] | None:
    """The status and the sentence with which a request is refused; None for one that may ask.

    A web page in a browser on this machine could ask a server without a token: browsers name the page in `Origin`, and
    a name that was made to point here in `Host` (DNS rebinding).
    """
    if token is not None:
        given = headers.get("authorization")
        if given is None:
            return 401, "the token is missing: send the header `Authorization: Bearer TOKEN`"
        if hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return None
        return 401, "the token is wrong: send `Authorization: Bearer TOKEN` with that of --token-file"
    if "origin" in headers:
        return 403, "web pages may not ask: a program asks without the header `Origin`"
    name, _, port = headers.get("host", "").rpartition(":")
    if (name if port.isdigit() else headers.get("host", "")) not in LOCAL_NAMES:
        return 403, f"the header `Host` must be one of {', '.join(LOCAL_NAMES)}: this server is for its own machine"
    return None
