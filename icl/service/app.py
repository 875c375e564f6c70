"""The same models for programs: ``POST /api/classify``, health checks, and figures for Prometheus.

Page and service share the queues, so one model is loaded once and everybody waits in one queue.
Errors are ``{"error": "one line"}``.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from hmac import compare_digest
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute, APIRouter
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import Message

from clfcore.errors import TuneshotError, unknown_choice
from icl.service.monitoring import registry_of
from icl.session.queue import Busy, Queues
from icl.session.session import MAX_CHARACTERS, Side, unexpected
from icl.session.settings import CHOICES, MAX_K, Settings

MAX_TEXTS = 256  # of one request
MAX_BODY = 2_000_000  # bytes of one request
WARM_UP = "Warm up: see you at eight?"
TOKEN = "TUNESHOT_API_TOKEN"
MODELS = ("lm", "checkpoint")  # settings whose values are this server's
ALL_VERBS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class WarmUp:
    """Asks every method until it has answered once.

    Args:
        queues: those that are to be ready; asked with settings, they answer with a ``Side``.
        again: seconds until a method that cannot answer is asked again.

    Attributes:
        reasons: method -> why it is not ready yet; empty when all are.
    """

    def __init__(self, queues: Queues, again: float = 30.0) -> None:
        self.queues = queues
        self.again = again
        self.reasons = dict.fromkeys(queues, "its model is being loaded")

    async def run(self) -> None:
        """Returns when all methods are ready."""
        await asyncio.gather(*(self._warm(method) for method in self.queues))

    async def _warm(self, method: str) -> None:
        while reason := await self._reason(method):
            self.reasons[method] = reason
            await asyncio.sleep(self.again)
        del self.reasons[method]

    async def _reason(self, method: str) -> str:
        try:
            (side,) = await _sides(self.queues, method, Settings(), [WARM_UP])
        except Busy as busy:
            return str(busy)
        return side.problem


async def _sides(
    queues: Queues, method: str, settings: Settings, texts: Sequence[str]
) -> list[Side]:
    """Answers in order. One text is a message like any other; several give way to messages."""
    key = settings.that_matter_to(method)
    answers = queues[method].ask_all(key, texts, background=len(texts) > 1)
    return [_side(method, settings, answer) async for answer in answers]


def _side(method: str, settings: Settings, answer: Side | Exception) -> Side:
    try:
        if isinstance(answer, Exception):
            raise answer
        return answer
    except TuneshotError as error:
        return Side(method, settings, problem=str(error))
    except Exception:
        return Side(method, settings, problem=unexpected())


# --- what goes over the wire --------------------------------------------------------------------


def _one_of(setting: str, allowed: Iterable[str], description: str) -> Any:  # noqa: ANN401
    """A field for one of some names; what is none of them is refused in one line, later."""
    names: dict[str, Any] = {"enum": list(allowed)}
    return Field(getattr(Settings(), setting), json_schema_extra=names, description=description)


class Asked(BaseModel):
    """Texts, and how they are to be classified, on any server."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"texts": ["You have won $1000! Call now.", "See you at eight?"]},
                {
                    "texts": ["You have won $1000! Call now."],
                    "method": "few_shot",
                    "selector": "topk",
                    "k": 8,
                    "order": "similar_last",
                    "balance": "equal",
                    "task": "sms_spam",
                },
            ]
        },
    )

    texts: list[Annotated[str, Field(max_length=MAX_CHARACTERS)]] = Field(
        min_length=1, max_length=MAX_TEXTS
    )
    method: Literal["fine_tuned", "few_shot", "both"] = "both"
    selector: str = _one_of("selector", CHOICES["selector"], "Few-shot: how examples are chosen.")
    k: StrictInt = Field(
        Settings().k, ge=0, le=MAX_K, description="Few-shot: how many examples are shown."
    )
    order: str = _one_of("order", CHOICES["order"], "Few-shot: their order in the prompt.")
    balance: str = _one_of(
        "balance", CHOICES["balance"], "Few-shot: how many of each label are shown."
    )
    task: str = _one_of("task", CHOICES["task"], "What the labels are.")


class MethodAnswer(BaseModel):
    """One method's answer to one text; without a label, ``problem`` says why."""

    label: str | None = None
    probabilities: dict[str, float] = {}
    ms: float | None = Field(default=None, description="Milliseconds the model spent on this text.")
    notes: list[str] = []
    model: str = ""
    problem: str = ""

    @classmethod
    def of(cls, side: Side) -> "MethodAnswer":
        """The answer of a side."""
        if (said := side.prediction) is None:
            return cls(model=side.model, problem=side.problem)
        return cls(
            label=said.label,
            probabilities=dict(said.probabilities),
            ms=round(said.ms, 3),
            notes=list(said.notes),
            model=side.model,
        )


class Answers(BaseModel):
    """For each text, in order: method -> its answer."""

    answers: list[dict[str, MethodAnswer]]


class Problem(BaseModel):
    """Why there is no answer, in one line."""

    error: str


class LimitedRoute(APIRoute):
    """Reads no more of a request than ``MAX_BODY``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def limited(request: Request) -> Response:
            read = 0

            async def receive() -> Message:
                nonlocal read
                message = await request.receive()
                read += len(message.get("body", b""))
                if read > MAX_BODY:
                    limit = f"{MAX_BODY:,} bytes"
                    raise HTTPException(413, f"the request has more than {limit}; send less")
                return message

            return await handle(Request(request.scope, receive))

        return limited


# --- the application ----------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def nothing_more(app: FastAPI) -> AsyncIterator[None]:
    """A lifespan that adds nothing."""
    yield


def create_app(
    queues: Queues,
    warm_up: WarmUp,
    lifespan: Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]] = nothing_more,
    offers: Mapping[str, Sequence[str]] | None = None,
) -> FastAPI:
    """The service; a page may be mounted at ``/`` behind its routes.

    It warms the models up when it starts and closes the queues when it ends. With
    ``TUNESHOT_API_TOKEN`` in the environment, ``/api/classify`` wants it as a bearer token.

    Args:
        queues: those that answer.
        warm_up: of the same.
        lifespan: what else begins and ends with the application.
        offers: of the session: the names that ``lm`` and ``checkpoint`` take.

    Raises:
        TuneshotError: the token is set, but empty.
    """

    @contextlib.asynccontextmanager
    async def whole_life(app: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(warm_up.run())
        try:
            async with lifespan(app):
                yield
        finally:
            warming.cancel()
            for queue in queues.values():
                await asyncio.to_thread(queue.close)

    app = FastAPI(
        title="Tuneshot",
        description="Classifies messages with a fine-tuned model and a few-shot prompt.",
        lifespan=whole_life,
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages come from other machines
        redoc_url=None,
    )
    app.include_router(_health(queues, warm_up))
    app.include_router(_api(queues, os.environ.get(TOKEN), offers or {}))
    app.add_exception_handler(TuneshotError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StarletteHTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)
    return app


def _health(queues: Queues, warm_up: WarmUp) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    registry = registry_of(queues)

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        if reasons := warm_up.reasons:
            return JSONResponse({"status": "not ready", "reasons": reasons}, 503)
        return JSONResponse({"status": "ready"})

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _api(queues: Queues, token: str | None, offers: Mapping[str, Sequence[str]]) -> APIRouter:
    if token == "":
        raise TuneshotError(f"{TOKEN} is empty; put a long random word there, or unset it")
    bearer = HTTPBearer(auto_error=False, description=f"What {TOKEN} says, if it is set.")

    async def authorized(
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    ) -> None:
        if token and not (
            given and compare_digest(given.credentials.encode("latin-1"), token.encode())
        ):
            asked = "a token is needed; send the header Authorization: Bearer …"
            raise HTTPException(401, asked, {"WWW-Authenticate": "Bearer"})

    problems: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": description}
        for status, description in {
            401: "The token is missing or wrong.",
            413: f"More than {MAX_BODY:,} bytes.",
            422: "Something in the request is not allowed.",
            503: "Too many requests wait; see the header Retry-After.",
        }.items()
    }
    router = APIRouter(prefix="/api", route_class=LimitedRoute, responses=problems)

    models = {name: ("", *offers.get(name, ())) for name in MODELS}

    class Question(Asked):
        """Texts, and how they are to be classified."""

        lm: str = _one_of("lm", models["lm"], "Few-shot: what reads the prompt; empty: the first.")
        checkpoint: str = _one_of(
            "checkpoint",
            models["checkpoint"],
            "Fine-tuned: the model; empty: the first that knows the task's labels.",
        )

    @router.post("/classify", dependencies=[Depends(authorized)])
    async def classify(question: Question) -> Answers:
        """Labels up to 256 texts. Several texts give way to people who type."""
        settings = Settings(**question.model_dump(exclude={"texts", "method"}))
        for name, known in models.items():
            if getattr(settings, name) not in known:
                raise unknown_choice(name, getattr(settings, name), known[1:])
        methods = tuple(queues) if question.method == "both" else (question.method,)
        for method in methods:
            if method not in queues:
                raise unknown_choice("method", method, queues)
        for number, text in enumerate(question.texts):
            if not text.strip():
                raise TuneshotError(f"texts[{number}] is empty; leave it out")
        asking = (_sides(queues, method, settings, question.texts) for method in methods)
        sides = await asyncio.gather(*asking)
        return Answers(
            answers=[
                {side.method: MethodAnswer.of(side) for side in row}
                for row in zip(*sides, strict=True)
            ]
        )

    @router.api_route("/{rest:path}", methods=ALL_VERBS, include_in_schema=False)
    async def elsewhere(rest: str) -> None:
        """Not the page that is mounted behind."""
        raise HTTPException(404, "there is POST /api/classify only; see /api/openapi.json")

    return router


# --- errors in one line -------------------------------------------------------------------------


def _problem(status: int, line: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": line}, status, headers)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Busy):
        return _problem(503, str(error), {"Retry-After": str(error.seconds)})
    return _problem(422, str(error))


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if part != "body"]
    if first["type"] == "extra_forbidden":
        return _problem(
            422, str(unknown_choice("field", place[-1], [*Asked.model_fields, *MODELS]))
        )
    return _problem(422, ": ".join([".".join(place) or "the request", first["msg"]]))


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    return _problem(error.status_code, str(error.detail), error.headers)


async def _bug(request: Request, error: Exception) -> JSONResponse:
    return _problem(500, unexpected())
