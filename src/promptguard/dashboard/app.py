"""The local page as an application (Starlette): reads, shows, changes nothing."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from promptguard._version import __version__
from promptguard.dashboard.access import Access, Guarded
from promptguard.dashboard.rendering import environment, take_back
from promptguard.dashboard.views import Query, Values, Views
from promptguard.directories import as_text, ledger_place, name_of
from promptguard.errors import InputFileError
from promptguard.report.memory import newest

log = logging.getLogger("promptguard")

STATIC = Path(__file__).parent / "static"
_TYPES = {
    "style.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The files that are served, and no other: there is no path to leave."""
NAV = (
    ("overview", "Overview", "/"),
    ("prompts", "Prompts", "/prompts"),
    ("rollouts", "Rollouts", "/rollouts"),
    ("pairs", "Pairs", "/pairs"),
    ("identities", "Who answered", "/identities"),
    ("cost", "Cost", "/cost"),
    ("unmeasured", "Not measured", "/unmeasured"),
    ("actions", "Actions", "/actions"),
)
View = Callable[[Query], Values | None]


def application(ledger: str | Path, access: Access, trace_url: str = "", prompts: str = "") -> ASGIApp:
    """Return the application that shows a ledger to who `access` lets in.

    `trace_url` is where traces are shown, `{trace_id}` in it standing for the trace; `prompts` is a folder of prompts.
    """
    ledger = as_text(ledger)
    views = Views(ledger, trace_url, prompts)
    pages: dict[str, View] = {
        "overview": views.overview,
        "prompt": views.prompt,
        "prompts": views.prompts,
        "rollouts": views.rollouts,
        "pairs": views.pairs,
        "pair": views.pair,
        "identities": views.identities,
        "cost": views.cost,
        "unmeasured": views.unmeasured,
        "actions": views.actions,
    }
    routes = [
        Route(
            "/" if name == "overview" else f"/{name}", _answering(partial(_page, ledger, name, view, views))
        )
        for name, view in pages.items()
    ]
    routes += [
        Route("/state", _answering(partial(_state, ledger))),
        Route("/static/{name}", _static),
    ]
    missing = partial(_missing, ledger)
    return Guarded(Starlette(routes=routes, exception_handlers={404: missing}), access)


def link(name: str, **values: object) -> str:
    """Return the address of a page."""
    return f"/{name}?{urlencode(values)}"


def _answering(made: Callable[[Query], Response]) -> Callable[[Request], object]:
    """Return an endpoint that makes its answer in a thread, and says how long it took."""

    async def endpoint(request: Request) -> Response:
        began = time.perf_counter()
        answer, cpu = await run_in_threadpool(_timed, made, dict(request.query_params))
        took = time.perf_counter() - began
        answer.headers["Server-Timing"] = f"cpu;dur={1e3 * cpu:.1f}, page;dur={1e3 * took:.1f}"
        return answer

    return endpoint


def _timed(made: Callable[[Query], Response], query: Query) -> tuple[Response, float]:
    """Return an answer and the seconds of CPU that it took."""
    began = time.thread_time()
    return made(query), time.thread_time() - began


def _page(ledger: str | Path, name: str, view: View, views: Views, query: Query) -> Response:
    try:
        with views.memory.lock:
            values = view(query)
        if values is None:
            return _message(ledger, 404, "Not in this ledger", "It has nothing of that name, or no longer.")
        values["trace_link"] = views.trace_link
        return HTMLResponse(rendered(ledger, f"{name}.html.j2", name, values))
    except InputFileError as error:
        return _message(ledger, 503, "The ledger cannot be read", str(error))
    except Exception:
        log.exception("the page %s cannot be shown", name)
        return _message(ledger, 500, "This page cannot be shown", "The terminal of the command says why.")


def rendered(ledger: str | Path, template: str, here: str, values: Values) -> str:
    """Return a page as HTML."""
    surroundings = {
        "link": link,
        "take_back": partial(take_back, ledger=as_text(ledger)),
        "ledger": as_text(ledger),
        "ledger_name": _name(ledger),
        "nav": NAV,
        "here": here,
        "now": time.time(),
        "state": _token(ledger),
        "static_version": _static_version(),
        "version": __version__,
    }
    return environment().get_template(template).render({**surroundings, **values})


def _name(ledger: str | Path) -> str:
    place = ledger_place(ledger)
    return name_of(Path(os.path.realpath(place)) if isinstance(place, Path) else place) or str(ledger)


def _message(ledger: str | Path, status: int, title: str, text: str) -> Response:
    return HTMLResponse(rendered(ledger, "message.html.j2", "", {"title": title, "text": text}), status)


def _token(ledger: str | Path) -> str:
    """Return a text that is another one once there is something new to show."""
    try:
        return newest(ledger)
    except InputFileError:
        return "none"


def _state(ledger: str | Path, _query: Query) -> Response:
    return PlainTextResponse(_token(ledger))


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _TYPES:
        return PlainTextResponse("There is no such file.\n", 404)
    return Response(_file(name), media_type=_TYPES[name])


async def _missing(ledger: str | Path, _request: Request, _error: Exception) -> Response:
    return _message(ledger, 404, "There is no such page", "See the pages above.")


@cache
def _file(name: str) -> bytes:
    return (STATIC / name).read_bytes()


@cache
def _static_version() -> str:
    return hashlib.sha256(b"".join(_file(name) for name in _TYPES)).hexdigest()[:12]
