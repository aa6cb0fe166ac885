"""The addresses of a participant's page. docs/COLLECT.md describes them."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fergi_reward.collect import judging, participants, trials, videos
from fergi_reward.collect.access import Access, WrongCodes, tab_of
from fergi_reward.collect.frames import parse_batch
from fergi_reward.collect.page_files import page_file, runtime_version
from fergi_reward.collect.refusals import RefusedError
from fergi_reward.collect.state import state
from fergi_reward.collect.store import Connection
from fergi_reward.collect.study import Study
from fergi_reward.collect.web import HEADERS, Handler, file_answer, page_answer, read_body, read_fields, route
from fergi_reward.collect.withdrawal import withdraw
from fergi_reward.hub.landmarker_model import FILE
from fergi_reward.version import __version__

T = TypeVar("T")
Job = Callable[[Connection, participants.Participant], T]


class ParticipantPages:
    """What participants may ask for.

    Args:
        study: The study.
        access: Who may ask.
        model: The landmarker's model; empty without a camera.
    """

    def __init__(self, study: Study, access: Access, model: bytes) -> None:
        self.study, self.access = study, access
        self._model = page_file(model, "application/octet-stream") if model else None
        self._wrong_codes, self._backend = WrongCodes(), runtime_version()

    def routes(self) -> list[Route]:
        """Their addresses."""
        lines: list[tuple[str, str, Handler]] = [
            ("/", "GET", self.page),
            ("/p/{link}", "GET", self.page),
            ("/static/{name:path}", "GET", self.static),
            ("/runtime/{name:path}", "GET", self.runtime),
            (f"/model/{FILE}", "GET", self.model),
            ("/picture/{image}", "GET", self.picture),
            ("/api/study", "GET", self.about),
            ("/api/state", "GET", self.state),
            ("/api/begin", "POST", self.begin),
            ("/api/tab", "POST", self.take_tab),
            ("/api/consent", "POST", self.agree),
            ("/api/check", "POST", self.accept_camera),
            ("/api/trials/{trial}/start", "POST", self.start),
            ("/api/attempts/{attempt}/frames", "POST", self.add_frames),
            ("/api/attempts/{attempt}/video/{offset:int}", "POST", self.add_video),
            ("/api/attempts/{attempt}/video", "POST", self.keep_video),
            ("/api/attempts/{attempt}/end", "POST", self.end),
            ("/api/trials/{trial}/ratings", "POST", self.rate),
            ("/api/sessions/{session}/ranking", "POST", self.rank),
            ("/api/pairs/{pair}", "POST", self.choose),
            ("/api/leave", "POST", self.leave),
            ("/api/withdraw", "POST", self.withdraw),
        ]
        return [route(path, method, handler, self.access) for path, method, handler in lines]

    async def page(self, request: Request) -> Response:
        """The page."""
        return page_answer(request, self.study.page.static("index.html"))

    async def static(self, request: Request) -> Response:
        """A file of the page."""
        return page_answer(request, self.study.page.static(request.path_params["name"]))

    async def runtime(self, request: Request) -> Response:
        """A file of MediaPipe's runtime."""
        found = await asyncio.to_thread(
            self.study.page.runtime, request.path_params["name"]
        )  # to pack it takes a second
        return page_answer(request, found)

    async def model(self, request: Request) -> Response:
        """The landmarker's model."""
        return page_answer(request, self._model)

    async def picture(self, request: Request) -> Response:
        """A picture, of which the file is what it was when the study began."""
        participant = await self._known(request)
        shown = participant.schedule.by_image.get(request.path_params["image"])
        if shown is None:
            raise RefusedError(404, "unknown_picture", "there is no such picture")
        content = await asyncio.to_thread(shown.picture.content)
        if content is None:
            self.study.note(f"{shown.picture.path} is gone or was changed: restore it; it is not shown")
            raise RefusedError(503, "picture_gone", "this picture is missing: tell the people who run the study")
        return file_answer((content, shown.picture.media_type), {"Cache-Control": "private, no-store"})

    async def about(self, request: Request) -> Response:
        """What the study is."""
        options, consent = self.study.options, self.study.consent
        return JSONResponse(
            {
                "title": consent.title,
                "mode": {
                    "camera": options.camera,
                    "task": options.task,
                    "ratings": options.ratings,
                    "video": options.offer_video,
                },
                "seconds": {
                    "blank": options.blank_seconds,
                    "baseline": options.baseline_seconds,
                    "picture": options.picture_seconds,
                },
                "language": self.study.page.language,
                "languages": self.study.page.languages,
                "consent": {"hash": consent.hash, "text": consent.text, "is_template": consent.is_template},
                "needs_link": not options.is_local,
                "version": __version__,
            }
        )

    async def state(self, request: Request) -> Response:
        """How far the participant is."""
        return JSONResponse(await self._job(request, lambda connection, who: state(connection, self.study, who)))

    async def begin(self, request: Request) -> Response:
        """Take part, or come back."""
        body = await read_fields(request)
        link, language = body.get("link"), body.get("language") or ""
        if not (link is None or isinstance(link, str)) or not isinstance(language, str):
            raise RefusedError(400, "bad_request", "link and language must be texts")

        def job(connection: Connection) -> tuple[dict[str, Any], str | None]:
            cookie = self.access.cookie(request)
            participant, new = participants.begin(connection, self.study, cookie, link, language)
            return state(connection, self.study, participant), new

        found, new = await self._stored(job)
        return JSONResponse(found, headers={"Set-Cookie": self.access.set_cookie(new)} if new else {})

    async def take_tab(self, request: Request) -> Response:
        """Let this tab ask, and no other one."""
        tab = tab_of(request)
        await self._job(request, lambda connection, who: participants.take_tab(connection, who, tab))
        return JSONResponse({})

    async def agree(self, request: Request) -> Response:
        """Consent."""
        body = await read_fields(request)

        def job(connection: Connection, who: participants.Participant) -> str:
            code = participants.agree(connection, self.study, who, body)
            if not body.get("video"):
                videos.discard_all(connection, self.study.folder, who.name)
            return code

        return JSONResponse({"withdrawal_code": await self._job(request, job)})

    async def accept_camera(self, request: Request) -> Response:
        """Note that the camera is good enough."""
        body = await read_fields(request)
        await self._own(request, lambda connection, who: participants.accept_camera(connection, self.study, who, body))
        return JSONResponse({})

    async def start(self, request: Request) -> Response:
        """Begin to show a picture."""
        trial = request.path_params["trial"]
        attempt, number = await self._own(
            request, lambda connection, who: trials.start(connection, self.study, who, trial, self._backend)
        )
        return JSONResponse({"attempt": attempt, "number": number})

    async def add_frames(self, request: Request) -> Response:
        """Store what was measured."""
        if not self.study.options.camera:
            raise RefusedError(404, "no_camera", "this study measures no faces")
        batch, attempt = parse_batch(await read_fields(request)), request.path_params["attempt"]
        seq = await self._own(request, lambda connection, who: trials.add_frames(connection, who, attempt, batch))
        return JSONResponse({"acknowledged": seq})

    async def add_video(self, request: Request) -> Response:
        """Store a piece of a video."""
        self._check_video()
        piece = await read_body(request, videos.MOST_PIECE, "application/octet-stream")
        attempt, offset = request.path_params["attempt"], request.path_params["offset"]
        received = await self._own(
            request, lambda connection, who: videos.add_piece(connection, self.study, who, attempt, offset, piece)
        )
        return JSONResponse({"received": received})

    async def keep_video(self, request: Request) -> Response:
        """Keep a video that has come as a whole."""
        self._check_video()
        said, attempt = videos.parse_whole(await read_fields(request)), request.path_params["attempt"]
        await self._own(request, lambda connection, who: videos.keep(connection, self.study, who, attempt, said))
        return JSONResponse({"kept": True})

    def _check_video(self) -> None:
        if not self.study.options.offer_video:
            raise RefusedError(404, "video_not_offered", "this study keeps no video")

    async def end(self, request: Request) -> Response:
        """The picture was shown."""
        said, attempt = trials.parse_end(await read_fields(request)), request.path_params["attempt"]
        return JSONResponse(
            await self._own(request, lambda connection, who: trials.end(connection, self.study, who, attempt, said))
        )

    async def rate(self, request: Request) -> Response:
        """Rate a picture."""
        body, trial = await read_fields(request), request.path_params["trial"]
        await self._own(request, lambda connection, who: judging.rate(connection, self.study, who, trial, body))
        return JSONResponse({})

    async def rank(self, request: Request) -> Response:
        """Rank the pictures of a session."""
        body, session = await read_fields(request), request.path_params["session"]
        await self._own(request, lambda connection, who: judging.rank(connection, self.study, who, session, body))
        return JSONResponse({})

    async def choose(self, request: Request) -> Response:
        """Prefer a picture of a pair."""
        body, pair = await read_fields(request), request.path_params["pair"]
        await self._own(request, lambda connection, who: judging.choose(connection, self.study, who, pair, body))
        return JSONResponse({})

    async def leave(self, request: Request) -> Response:
        """Delete the participant of this browser."""
        participant = await self._known(request)
        return await self._withdrawn(participant.name)

    async def withdraw(self, request: Request) -> Response:
        """Delete the participant of a withdrawal code, from any browser."""
        body = await read_fields(request)
        address, code = request.client.host if request.client else "", body.get("code")
        self._wrong_codes.check(address)
        if not isinstance(code, str):
            raise RefusedError(400, "bad_request", "code must be a text")
        participant = await self._stored(lambda connection: participants.of_code(connection, code))
        if participant is None:
            self._wrong_codes.note(address)
            raise RefusedError(404, "code_unknown", "there is no such code: look at it again")
        return await self._withdrawn(participant)

    async def _withdrawn(self, participant: str) -> Response:
        deleted = await asyncio.to_thread(withdraw, self.study, participant)
        answer = {"withdrawn": True, "deleted": {"trials": deleted.trials, "judgements": deleted.judgements}}
        return JSONResponse(answer, headers={"Set-Cookie": self.access.drop_cookie()})

    async def _known(self, request: Request) -> participants.Participant:
        cookie = self.access.cookie(request)
        return await self._stored(lambda connection: participants.known(connection, self.study, cookie))

    async def _job(self, request: Request, job: Job[T], tab: str | None = None) -> T:
        """Do something for the participant of the browser that asks."""
        cookie = self.access.cookie(request)
        return await self._stored(
            lambda connection: job(connection, participants.known(connection, self.study, cookie, tab))
        )

    async def _own(self, request: Request, job: Job[T]) -> T:
        """The same for what only one tab of the browser may ask."""
        return await self._job(request, job, tab_of(request))

    async def _stored(self, job: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self.study.store.run(job))


def application(routes: list[Route]) -> Starlette:
    """An application of routes, which says in JSON what it does not know."""
    made = Starlette(routes=routes, exception_handlers={404: _unknown, 405: _unknown})
    made.router.redirect_slashes = False
    return made


async def _unknown(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return JSONResponse({"error": "unknown", "message": "there is no such address or method"}, status, HEADERS)
