"""A Ray cluster for the time being: the one of RAY_ADDRESS, or one of this machine that nobody else can reach."""

import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from logging import ERROR
from pathlib import Path
from typing import Any

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.home import private_folder

# How a client of gRPC begins, and the type of the frame with which a server begins (RFC 9113, 3.4 and 6.5).
HTTP2, SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)), b"\x04"


@contextmanager
def ray_cluster() -> Iterator[None]:
    """Connected to Ray: as this process is already, or for the time being."""
    import ray

    if ray.is_initialized():
        yield
        return
    # Ray would tell its vendor what is run here, and the terminal each step.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    _check_address(os.environ.get("RAY_ADDRESS", "local"))
    try:
        with _silent_stderr(), _kept_here() as options, sigterm_as_before():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=ERROR, **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise FergiRewardError(
            f"Ray cannot join or start a cluster ({error}): fix this, and if the cluster has a token, set "
            "RAY_AUTH_MODE=token"
        ) from error
    try:
        yield
    finally:
        with sigterm_as_before():
            ray.shutdown()


@contextmanager
def sigterm_as_before() -> Iterator[None]:
    """What SIGTERM does is the same after the block: ray.init has it raise SystemExit, and ray.shutdown end at once."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _kept_here() -> Iterator[dict[str, Any]]:
    """What starts a cluster for this user alone: it listens on this machine only, and its token is in no file.

    Ray replaces 127.0.0.1, where one asks for it, by an address that others reach, unless this constant is set. It
    writes a token that it makes itself into the home folder, for everybody to read, and has its sockets and logs in
    /tmp/ray, where everybody may put others. (The names of sockets have 107 characters at most: TMPDIR may be longer.)
    """
    from ray._private import ray_constants, services

    asked = os.environ.get("RAY_ADDRESS") or None
    if services.canonicalize_bootstrap_address(asked) is not None:  # type: ignore[arg-type] # it may be None
        yield {}  # it joins one
        return
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", _token())
    folder = os.environ.get("RAY_TMPDIR") or str(private_folder(Path("/tmp")) / "ray")
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield {"_temp_dir": folder}
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _check_address(address: str) -> None:
    """Ray itself would try for many minutes to reach a cluster that is not there.

    Through Ray's client (ray://) the manifest would be read on the cluster's head, not here.
    """
    if "://" in address:
        raise FergiRewardError(f"RAY_ADDRESS is {address}: give HOST:PORT, on a machine that is a node of the cluster")
    host, _, port = address.rpartition(":")
    if host:  # else it is one of Ray's words, auto or local
        try:
            with socket.create_connection((host, int(port)), timeout=10) as asked:
                asked.sendall(HTTP2)
                told = asked.recv(9)
        except (OSError, ValueError) as error:
            raise FergiRewardError(
                f"no Ray cluster answers at RAY_ADDRESS={address} ({error}): start it, or unset this"
            ) from error
        if told[3:4] != SETTINGS and "RAY_USE_TLS" not in os.environ:
            raise FergiRewardError(
                f"what answers at RAY_ADDRESS={address} is no Ray cluster: give the port of its head, by default 6379"
            )


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Without the line that Ray's core, which is no Python, writes about its log level."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@cache
def _token() -> str:
    """One token for all clusters of a process, since Ray's own code keeps the first that it reads."""
    return secrets.token_hex(32)
