"""The addresses of the operator's page: who takes part, links, withdrawal, export, and a calibration."""

import asyncio
import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fergi_reward.collect import participants
from fergi_reward.collect.access import Access
from fergi_reward.collect.calibrate_now import Calibrating
from fergi_reward.collect.export import Exported, export
from fergi_reward.collect.refusals import RefusedError
from fergi_reward.collect.settings import REACTIONS
from fergi_reward.collect.store import Connection
from fergi_reward.collect.study import Study
from fergi_reward.collect.web import POLICY, Handler, file_answer, page_answer, read_fields, route
from fergi_reward.collect.withdrawal import withdraw
from fergi_reward.reactions.folder import ReactionFolder

T = TypeVar("T")
MOST_LINKS = 1000


class OperatorPages:
    """What operators may ask for.

    Args:
        study: The study.
        access: Who may ask.
    """

    def __init__(self, study: Study, access: Access) -> None:
        self.study, self.access = study, access
        self.calibrating = Calibrating(study.options)
        self._exporting = asyncio.Lock()

    def routes(self) -> list[Route]:
        """Their addresses."""
        lines: list[tuple[str, str, Handler]] = [
            ("/api/operator/state", "GET", self.state),
            ("/api/operator/links", "POST", self.links),
            ("/api/operator/withdraw", "POST", self.withdraw),
            ("/api/operator/export", "POST", self.export),
            ("/api/operator/calibrate", "POST", self.calibrate),
            ("/api/operator/calibration", "GET", self.calibration),
            ("/api/operator/download", "GET", self.download),
        ]
        return [
            route("/operator", "GET", self.page, self.access),
            route("/report/{ticket}/{name}", "GET", self.report, self.access),
            *(route(path, method, self._guarded(handler), self.access) for path, method, handler in lines),
        ]

    def _guarded(self, handler: Handler) -> Handler:
        """A handler for those who know the token."""

        async def guarded(request: Request) -> Response:
            self.access.check_operator(request)
            return await handler(request)

        return guarded

    async def page(self, request: Request) -> Response:
        """The page, which may show a report in a frame."""
        headers = {"Content-Security-Policy": POLICY.format(frames="'self'")}
        return page_answer(request, self.study.page.static("operator.html"), headers)

    async def state(self, request: Request) -> Response:
        """Who takes part, and how far they are."""
        return JSONResponse(await self._stored(lambda connection: overview(connection, self.study)))

    async def links(self, request: Request) -> Response:
        """New links, each for one browser."""
        count = (await read_fields(request)).get("count")
        if type(count) is not int or not 1 <= count <= MOST_LINKS:
            raise RefusedError(400, "bad_request", f"count must be from 1 to {MOST_LINKS}")
        made = await self._stored(lambda connection: participants.new_links(connection, count))
        return JSONResponse({"links": [f"{self.access.address}/p/{link}" for link in made]})

    async def withdraw(self, request: Request) -> Response:
        """Delete a participant."""
        name = (await read_fields(request)).get("participant")
        known = await self._stored(
            lambda connection: connection.execute(
                "SELECT count(*) FROM participants WHERE participant = ?", (name if isinstance(name, str) else "",)
            ).fetchone()[0]
        )
        if not known:
            raise RefusedError(404, "unknown_participant", "there is no such participant")
        deleted = await asyncio.to_thread(withdraw, self.study, str(name))
        return JSONResponse(
            {"withdrawn": True, "deleted": {"trials": deleted.trials, "judgements": deleted.judgements}}
        )

    async def export(self, request: Request) -> Response:
        """Write the tables."""
        await read_fields(request)
        return JSONResponse(_shown(self.study, await self._exported()))

    async def calibrate(self, request: Request) -> Response:
        """Begin a calibration of what there is."""
        await read_fields(request)
        if self.calibrating.is_running:
            raise RefusedError(409, "calibrating", "a calibration runs already")
        self.calibrating.begin()
        return JSONResponse(self.calibrating.state())

    async def calibration(self, request: Request) -> Response:
        """What the calibration says."""
        return JSONResponse(self.calibrating.state())

    async def report(self, request: Request) -> Response:
        """A file of the report, for whoever has its ticket: a frame cannot send the token."""
        path = self.calibrating.report_file(request.path_params["ticket"], request.path_params["name"])
        headers = {
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
            "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-scripts",
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        return file_answer(path, headers)

    async def download(self, request: Request) -> Response:
        """The tables and the reactions as one file, written now."""
        exported = await self._exported()
        content = await asyncio.to_thread(_zipped, self.study.folder, exported.files)
        name = {"Content-Disposition": 'attachment; filename="study.zip"', "Cache-Control": "no-store"}
        return Response(content, media_type="application/zip", headers=name)

    async def _exported(self) -> Exported:
        async with self._exporting:
            return await asyncio.to_thread(export, self.study.folder)

    async def _stored(self, job: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self.study.store.run(job))


def overview(connection: Connection, study: Study) -> dict[str, Any]:
    """Who takes part, and how far they are: numbers and pseudonyms."""
    complete, flags = Counter[str](), dict[str, Counter[str]]()
    for row in connection.execute(
        "SELECT participant, reasons, max(number) FROM attempts WHERE state = 'complete' GROUP BY participant, trial"
    ):
        complete[row["participant"]] += 1
        flags.setdefault(row["participant"], Counter()).update(json.loads(row["reasons"]))
    judged = Counter(
        row[0] for table in ("rankings", "pairs") for row in connection.execute(f"SELECT participant FROM {table}")
    )
    agreed = {row[0] for row in connection.execute("SELECT DISTINCT participant FROM consents")}
    rows = list[dict[str, Any]]()
    for row in connection.execute("SELECT * FROM participants ORDER BY number"):
        name = row["participant"]
        schedule = study.schedules.of(participants.Person(name, row["number"], row["key"]))
        asked = _asked(study, len(schedule.sittings), len(schedule.by_pair))
        trials = len(schedule.by_trial) if study.options.has_trials else 0
        done = complete[name] == trials and judged[name] == asked
        step = "done" if done else "consent" if name not in agreed else "trials"
        if step == "trials" and study.options.camera and row["checked"] is None:
            step = "camera"
        rows.append(
            {
                "participant": name,
                "begun": row["begun"],
                "step": step,
                "trials": complete[name],
                "trials_all": trials,
                "judged": judged[name],
                "judged_all": asked,
                "flags": dict(flags.get(name, {})),
                "retention": row["expires"],
            }
        )
    links = connection.execute("SELECT count(*), count(participant) FROM links").fetchone()
    videos = connection.execute("SELECT count(*) FROM videos").fetchone()[0]
    notices = [dict(row) for row in connection.execute("SELECT at, text FROM notices ORDER BY at DESC LIMIT 50")]
    return {
        "participants": rows,
        "counts": {
            "participants": len(rows),
            "done": sum(row["step"] == "done" for row in rows),
            "trials": sum(complete.values()),
            "judgements": sum(judged.values()),
            "links": links[0],
            "links_used": links[1],
            **({"videos": videos} if videos or study.options.offer_video else {}),
        },
        "notices": notices,
    }


def _asked(study: Study, sessions: int, pairs: int) -> int:
    """How many rankings or pairs a participant is asked for."""
    return {"rank": sessions, "pairs": pairs, "look": 0}[study.options.task]


def _shown(study: Study, exported: Exported) -> dict[str, Any]:
    return {
        "files": [str(path.relative_to(study.folder)) for path in exported.files],
        "participants": exported.participants,
        "trials": exported.trials,
        "reactions": exported.reactions,
        "judgements": dict(exported.judgements),
        "notes": list(exported.notes),
    }


def _zipped(folder: Path, files: Sequence[Path]) -> bytes:
    """The tables and the clips in one moment; those of whoever withdrew since they were written are gone."""
    content, reactions = io.BytesIO(), ReactionFolder(folder / REACTIONS)
    with reactions.changing(), zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        clips = sorted(reactions.clips.glob("[!.]*.parquet")) if reactions.manifest in files else []
        for path in filter(Path.exists, [*files, *clips]):
            archive.write(path, path.relative_to(folder))
    return content.getvalue()
