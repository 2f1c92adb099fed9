"""The server's endpoints: OpenAI's `/v1/models`, `/v1/completions` and `/v1/chat/completions`, and `/v1/load_model`.

Whatever is wrong with a request is answered with an error in OpenAI's format: one sentence, never a traceback.
"""

import asyncio
import hmac
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from burnish.recipes.serve import replies, requests
from burnish.recipes.serve.engine import Engine, GoneError, StoppedError
from burnish.recipes.serve.requests import Asked, BadRequestError, check_fields, is_whole
from burnish.recipes.web import RefusedError, check_json, json_of
from burnish.run import UserError, first_line, lacks_memory
from burnish.run.web import is_loopback

MOST_BYTES = 64 * 2**20
"""The largest request."""

Answer = Callable[[Request], Awaitable[Response]]


def app_of(engine: Engine, token: str | None = None, debug: bool = False) -> Starlette:
    """The endpoints of a served model. With a `token` every request has to bring it; without one, a request has to name
    this machine, so that no page of the web can send one through a browser. `debug` prints tracebacks."""
    numbers = count(1)

    async def models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [engine.described()]})

    async def completions(request: Request) -> Response:
        return await answered(request, requests.completion(await json_of(request, MOST_BYTES), engine.name))

    async def chat(request: Request) -> Response:
        return await answered(request, requests.chat(await json_of(request, MOST_BYTES), engine.name))

    async def load(request: Request) -> Response:
        body = await json_of(request, MOST_BYTES)
        check_fields(body, {"model", "path", "weights_version", "weights_sha256"}, engine.name)
        version, path, sha256 = (body.get(key) for key in ("weights_version", "path", "weights_sha256"))
        if not is_whole(version, 0, 2**62):
            raise BadRequestError("weights_version must be a whole number from 0", "weights_version")
        for key, value in (("path", path), ("weights_sha256", sha256)):
            if value is not None and not (isinstance(value, str) and value and "\0" not in value):
                raise BadRequestError(f"{key} must be a text", key)
        if path is None and sha256 is None:
            raise BadRequestError("give the path of a folder with weights, or the checksum of those in use", "path")
        return JSONResponse(await in_worker(engine, engine.load, path, version, sha256))

    async def answered(request: Request, asked: Asked) -> Response:
        number, created = next(numbers), int(time.time())
        if not asked.streamed:
            async with watching(request, threading.Event()) as gone:
                reply = await in_worker(engine, engine.complete, asked, gone)
            return JSONResponse(replies.whole(asked, reply, number, engine.called, created))
        stream = engine.stream(asked)
        async with watching(request, stream.enough):
            _, facts = await asyncio.to_thread(stream.head)
        head = replies.head(asked, facts, number, created, replies.KINDS[asked.kind][1])
        return StreamingResponse(replies.events(asked, stream, head, engine.called), media_type="text/event-stream")

    def endpoint(path: str, answer: Answer, method: str) -> Route:
        return Route(path, guarded(answer, token, debug), methods=[method])

    return Starlette(
        routes=[
            endpoint("/v1/models", models, "GET"),
            endpoint("/v1/completions", completions, "POST"),
            endpoint("/v1/chat/completions", chat, "POST"),
            endpoint("/v1/load_model", load, "POST"),
        ],
        exception_handlers={HTTPException: wrong_endpoint},
    )


async def in_worker(engine: Engine, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in the thread that uses the model."""
    return await asyncio.get_running_loop().run_in_executor(engine.worker, function, *arguments)


@asynccontextmanager
async def watching(request: Request, gone: threading.Event) -> AsyncIterator[threading.Event]:
    """Inside, the event is set as soon as the client has gone: what it asked for is not drawn then."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone.set()

    task = asyncio.create_task(watch())
    try:
        yield gone
    finally:
        task.cancel()


async def wrong_endpoint(request: Request, problem: Any) -> Response:
    known = "/v1/models, /v1/completions, /v1/chat/completions, /v1/load_model"
    sentence = f"there is no {request.method} {request.url.path[:100]}: this server has {known}"
    return JSONResponse(replies.error(sentence, problem.status_code), problem.status_code)


def guarded(answer: Answer, token: str | None, debug: bool) -> Answer:
    """The same endpoint for those who may ask; errors become replies."""

    async def guard(request: Request) -> Response:
        status, field = 400, None
        try:
            check_sender(request, token)
            return await answer(request)
        except BadRequestError as problem:
            sentence, status, field = str(problem), problem.status, problem.field
        except RefusedError as problem:
            sentence, status = str(problem), problem.status
        except UserError as problem:
            sentence = str(problem)
        except (StoppedError, asyncio.CancelledError):
            sentence, status = "the server is being stopped", 503
        except (GoneError, ClientDisconnect):
            sentence = "the client has gone"  # and does not read this
        except Exception as problem:
            if debug:
                traceback.print_exc(file=sys.stderr)
            lacking = lacks_memory(problem)
            said = lacking or f"{type(problem).__name__}: {first_line(problem)}"
            sentence, status = f"the server failed ({said})", 500
        return JSONResponse(replies.error(sentence, status, field), status)

    return guard


def check_sender(request: Request, token: str | None) -> None:
    """Raise RefusedError for a request without the server's token, or one that a web page may have sent."""
    if token is not None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise BadRequestError("the token is missing or wrong: send it as Authorization: Bearer …", None, 401)
        return
    if not is_loopback(request.headers.get("host", "")):
        raise BadRequestError("this server answers requests to 127.0.0.1 and localhost alone", None, 403)
    check_json(request)
