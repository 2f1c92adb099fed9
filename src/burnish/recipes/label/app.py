"""The label server's pages, for this machine alone: one page, and three requests of its script.

Each address begins with the server's token. A request has to name this machine (a name of another site that points here
is refused), and one that a page sends has to come from this server's own page. There are no headers that would let
another site's page read a reply.
"""

import hmac
import secrets
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from burnish.recipes.label.session import Session
from burnish.recipes.web import RefusedError, check_json, json_of
from burnish.report.language.label import label_page
from burnish.run import UserError, first_line
from burnish.run.web import is_loopback

MOST_BYTES = 2**17
"""The largest request: an answer with its note."""

HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Answer = Callable[[Request], Awaitable[Response]]


@dataclass
class Pages:
    """What the pages are of: the session, its token, a text beside the pairs, and what ends the server.

    `end` is called when every rater has said that they are finished.
    """

    session: Session
    token: str
    guideline: str = ""
    end: Callable[[], None] = lambda: None
    debug: bool = False
    finished: set[str] = field(default_factory=set)

    def app(self) -> Starlette:
        routes = [
            self._route("", self.page, "GET"),
            self._route("about", self.about, "GET"),
            self._route("show", self.show, "GET"),
            self._route("answer", self.answer, "POST"),
            self._route("finish", self.finish, "POST"),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: wrong_page})

    def _route(self, name: str, answer: Answer, method: str) -> Route:
        return Route(f"/{{token}}/{name}", self._guarded(answer), methods=[method])

    async def page(self, request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
        policy += "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        return HTMLResponse(label_page(nonce), headers={"Content-Security-Policy": policy})

    async def about(self, request: Request) -> Response:
        session = self.session
        found = {"raters": list(session.plan.raters), "data": session.file.data, "strengths": session.strengths}
        return JSONResponse(found | {"guideline": self.guideline})

    async def show(self, request: Request) -> Response:
        query = request.query_params
        place = query.get("place")
        if place is not None and not (place.isascii() and place.isdigit() and len(place) < 10):
            raise RefusedError("the place is not a number")
        return JSONResponse(self.session.view(str(query.get("rater")), None if place is None else int(place)))

    async def answer(self, request: Request) -> Response:
        return JSONResponse(self.session.answer(await json_of(request, MOST_BYTES)))

    async def finish(self, request: Request) -> Response:
        body = await json_of(request, MOST_BYTES)
        rater = body.get("rater") if isinstance(body, dict) else None
        self.session.order(rater)
        if not self.session.finished(str(rater)):
            raise RefusedError("there are comparisons without an answer", 409)
        self.finished.add(str(rater))
        waiting = [name for name in self.session.plan.raters if name not in self.finished]
        if not waiting:
            self.end()
        return JSONResponse({"waiting": waiting})

    def _guarded(self, answer: Answer) -> Answer:
        """The same page for those who may see it; whatever is wrong is a sentence."""

        async def guard(request: Request) -> Response:
            try:
                check_sender(request, self.token)
                reply = await answer(request)
            except RefusedError as problem:
                reply = JSONResponse({"error": str(problem)}, problem.status)
            except UserError as problem:
                reply = JSONResponse({"error": str(problem)}, 507)
            except ClientDisconnect:
                reply = Response(status_code=400)
            except Exception as problem:
                if self.debug:
                    traceback.print_exc(file=sys.stderr)
                said = f"the server failed ({type(problem).__name__}: {first_line(problem)})"
                reply = JSONResponse({"error": said}, 500)
            reply.headers.update(HEADERS)
            return reply

        return guard


async def wrong_page(request: Request, problem: Any) -> Response:
    sentence = "there is no such page: open the address that burnish label printed\n"
    return PlainTextResponse(sentence, problem.status_code, HEADERS)


def check_sender(request: Request, token: str) -> None:
    """Raise RefusedError for a request with another name of this machine, from another site's page, or without the
    token."""
    host = request.headers.get("host", "")
    if not is_loopback(host):
        raise RefusedError("this server answers requests to 127.0.0.1 and localhost alone", 403)
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
    followed = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"  # a link to the page
    if origin not in (None, f"http://{host}") or (site not in ("none", "same-origin") and not followed):
        raise RefusedError("this server answers its own page alone", 403)
    if not hmac.compare_digest(request.path_params["token"].encode(), token.encode()):
        raise RefusedError("the address is not that of this server: open the one that burnish label printed", 403)
    check_json(request)
