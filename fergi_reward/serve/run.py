"""`fergi-reward serve`: from options to a server that runs until it is asked to end."""

import asyncio
import logging
import os
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial

import torch

from fergi_reward.core.devices import named_device
from fergi_reward.core.errors import FergiRewardWarning
from fergi_reward.core.log_lines import LOG_LINES
from fergi_reward.diffusion.rewards import load_reward
from fergi_reward.reward import CombinedReward
from fergi_reward.serve.access import read_token
from fergi_reward.serve.app import Server
from fergi_reward.serve.listening import Web, address, listening, web_config
from fergi_reward.serve.options import LOCAL_HOSTS, ServeOptions
from fergi_reward.serve.request_log import RequestLog
from fergi_reward.serve.scoring import Scoring
from fergi_reward.serve.worker_processes import ProcessWorker
from fergi_reward.serve.workers import Setting, WorkerPool


def run(options: ServeOptions) -> None:
    """Serve until SIGTERM or SIGINT; what was accepted is answered.

    Raises:
        FergiRewardError: The address is in use, the token or the reward cannot be read.
    """
    token = read_token(options.token_file) if options.token_file else None
    if options.host not in LOCAL_HOSTS:
        warnings.warn(
            f"on {options.host} nothing is encrypted: who reads the network reads the token and the pictures; put a "
            "proxy with TLS in front",
            FergiRewardWarning,
            stacklevel=2,
        )
    with listening(options.host, options.port) as listener, _scoring(options) as scoring:
        asyncio.run(_serve(Server(scoring, options, token, options.root), listener, options))


@contextmanager
def _scoring(options: ServeOptions) -> Iterator[Scoring | WorkerPool]:
    """What scores: this process, or several."""
    if options.engine == "ray":
        from fergi_reward.serve.ray_workers import started_on_ray

        with started_on_ray(options, partial(_reward, options, 0)) as pool:
            yield pool
        return
    gpus = torch.cuda.device_count() if options.device in (None, "cuda") else 0
    count = max(1, gpus) if options.workers == "auto" else options.workers
    if count == 1:
        yield Scoring(_reward(options, 0, 0), options)
        return
    threads = max(1, torch.get_num_threads() // count)
    load = partial(_reward, options, gpus)
    yield WorkerPool(lambda number: ProcessWorker(Setting(load, number, options, threads)), count, options.time_limit)


def _reward(options: ServeOptions, gpus: int, number: int) -> CombinedReward:
    """The reward of a worker; those without a device of their own take the GPUs in turn."""
    if number == 0:  # the others load the same
        _say_what_is_loaded()
    device = named_device(f"cuda:{number % gpus}" if gpus else options.device)
    return load_reward(options.reward_options, on=device)


def _say_what_is_loaded() -> None:
    """Have this process, which may be a worker's, print what it loads: that takes a minute on a busy machine."""
    logger = logging.getLogger("fergi_reward")
    logger.addHandler(LOG_LINES)
    logger.setLevel(logging.INFO)


async def _serve(server: Server, listener: socket.socket, options: ServeOptions) -> None:
    """Serve until a signal comes or nothing can score any more."""
    app = RequestLog(server.app) if options.log_requests else server.app
    web = Web(web_config(app, options.end_limit))
    serving = asyncio.create_task(web.serve([listener]))
    loading = asyncio.wrap_future(_loading(server))
    await asyncio.wait([serving, loading], return_when=asyncio.FIRST_COMPLETED)
    failing = loading
    if loading.done() and loading.exception() is None and not serving.done():
        print(f"serving {', '.join(server.scoring.names)} ({options.weighed_by}) on {address(listener)}", flush=True)
        failing = asyncio.wrap_future(server.scoring.failure)
        await asyncio.wait([serving, failing], return_when=asyncio.FIRST_COMPLETED)
    web.should_exit = True
    await serving
    is_busy = server.is_busy
    server.scoring.close()
    if failing.done():
        failing.result()
    _end_threads(is_busy, is_loading=not loading.done())


def _loading(server: Server) -> Future[None]:
    """Load in a thread that the end of the program does not wait for."""
    loaded = Future[None]()

    def load() -> None:
        try:
            server.load()
        except BaseException as error:
            loaded.set_exception(error)
        else:
            loaded.set_result(None)

    threading.Thread(target=load, daemon=True).start()
    return loaded


def _end_threads(is_busy: bool, is_loading: bool) -> None:
    """Python waits for threads for ever when a program ends, and a scorer cannot be interrupted."""
    if is_busy:
        print("ended before everything was answered", file=sys.stderr)
    if is_busy or is_loading:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(is_busy))
