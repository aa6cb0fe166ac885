"""`fergi-reward collect`: from options to a server that runs until it is asked to end, and the tables it leaves."""

import asyncio
import os
import secrets
import socket
import sys

from starlette.routing import Route

from fergi_reward.collect.access import Access
from fergi_reward.collect.app import ParticipantPages, application
from fergi_reward.collect.export import Exported, export
from fergi_reward.collect.operator_pages import OperatorPages
from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.page_files import check_runtime
from fergi_reward.collect.retention import expire
from fergi_reward.collect.study import Study, opened
from fergi_reward.collect.videos import sweep
from fergi_reward.core.counts import counted
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.terminal import one_line
from fergi_reward.files.ordinary_files import read_bytes
from fergi_reward.hub.landmarker_model import MAX_BYTES, landmarker_model
from fergi_reward.privacy.study_videos import FOLDER
from fergi_reward.serve.listening import Web, listening, web_config

END_SECONDS = 10.0
SECONDS_BETWEEN_EXPIRIES = 3600.0


def run(options: CollectOptions) -> Exported:
    """Serve a study until SIGTERM or SIGINT, then write its tables.

    Raises:
        FergiRewardError: The address is in use, or the study cannot be opened or written.
    """
    os.umask(0o077)
    model = b""
    if options.camera:
        check_runtime()
        model = read_bytes(landmarker_model(options.backend_model), MAX_BYTES)
    with opened(options) as study, listening(options.host, options.port) as listener:
        study.store.run(lambda connection: sweep(connection, study.folder)).result()
        _say(expire(study.folder))
        asyncio.run(_serve(study, listener, model))
    return export(options.out)


async def _serve(study: Study, listener: socket.socket, model: bytes) -> None:
    token = secrets.token_urlsafe(24)
    access = Access(study.options, listener.getsockname()[1], token, study.id)
    operator = OperatorPages(study, access)
    routes: list[Route] = [*ParticipantPages(study, access, model).routes(), *operator.routes()]
    options = study.options
    web = Web(web_config(application(routes), END_SECONDS, options.tls_cert, options.tls_key))
    serving = asyncio.create_task(web.serve([listener]))
    print("\n".join(_said(study, access, token)), flush=True)
    while not (await asyncio.wait([serving], timeout=SECONDS_BETWEEN_EXPIRIES))[0]:
        await asyncio.to_thread(_expire, study)
    await serving
    operator.calibrating.end()


def _expire(study: Study) -> None:
    """Delete whoever's retention has ended, which a server that runs for long must do itself."""
    try:
        _say(expire(study.folder))
    except FergiRewardError as error:
        _say([str(error)])


def _say(lines: list[str]) -> None:
    """Tell the terminal alone, since the lines name who is deleted."""
    for line in lines:
        print(one_line(line), file=sys.stderr, flush=True)


def _said(study: Study, access: Access, token: str) -> list[str]:
    """What the command prints when it listens."""
    options = study.options
    measured = "action units of the face, measured in the browser" if options.camera else ""
    judged = {"rank": "rankings", "pairs": "preferred pictures of pairs", "look": ""}[options.task]
    collected = [each for each in (measured, judged, "ratings" * options.ratings) if each]
    template = " (a template: write your own for a real study)" if study.consent.is_template else ""
    video = f"video: of those who allow it, kept in {options.out / FOLDER}; your consent text must say what for"
    return [
        f"participants: {access.address}/"
        + ("" if options.is_local else " (each needs a link of the operator's page)"),
        f"operator: {access.address}/operator#{token}",
        f"collected: {', '.join(collected)}; {counted(len(study.pictures.every), 'picture')} in "
        f"{counted(len(study.pictures.sessions), 'session')}",
        f"consent: {options.consent or 'the shipped text'}{template}, kept as "
        f"{options.out / 'consent' / study.consent.hash}.md",
        *([video] if options.offer_video else []),
        f"retention: {options.retention_days} days, then a participant is deleted",
        f"study: {options.out}; Ctrl-C ends and writes its tables",
    ]
