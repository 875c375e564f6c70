"""The same models for programs: ``POST /api/classify``, health checks, and figures for Prometheus.

Page and service share the queues, so one model is loaded once and everybody waits in one queue.
Errors are ``{"error": "one line"}``.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from hmac import compare_digest
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRouter
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.process_collector import ProcessCollector
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, create_model
from starlette.exceptions import HTTPException as StarletteHTTPException

from clfcore.errors import TuneshotError, unknown_choice
from clfcore.types import MAX_CHARACTERS, ignore
from icl.service.guard import MAX_BODY_BYTES, Guard
from icl.service.hosts import allowed_hosts
from icl.service.stopping import AnswerBeforeStopping
from icl.session.login_codes import API_TOKEN, api_token
from icl.session.queue import Busy
from icl.session.session import MethodResult, error_line
from icl.session.settings import CHOICES, MAX_K, PAGE_SETTINGS, Settings
from icl.session.workers import Workers

MAX_TEXTS = 256  # of one request
HEALTH_AND_METRICS = ("/healthz", "/readyz", "/metrics")


# --- what goes over the wire --------------------------------------------------------------------


class Texts(BaseModel):
    """What is to be classified, and by which methods."""

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


def _question(offers: Mapping[str, Sequence[str]], usual: Settings) -> type[Texts]:
    """Texts and all settings of the page; wrong names are refused in one line, later.

    Args:
        offers: of the session: the names that ``lm`` and ``checkpoint`` take.
        usual: of the session: what is not chosen.
    """
    settings: dict[str, Any] = {}
    for name, about in PAGE_SETTINGS.items():
        default = getattr(usual, name)
        names = CHOICES.get(name) or (("", *offers[name]) if name in offers else None)
        method = {"task": "", "checkpoint": "Fine-tuned: "}.get(name, "Few-shot: ")
        settings[name] = (
            {int: StrictInt, bool: StrictBool, float: float}.get(type(default), str),
            Field(
                default,
                description=method + about.help,
                json_schema_extra={"enum": list(names)} if names else None,
                ge=0 if name == "k" else None,
                le=MAX_K if name == "k" else None,
            ),
        )
    return create_model(
        "Question",
        __base__=Texts,
        __doc__="Texts, and how they are to be classified.",
        **settings,
    )


class MethodAnswer(BaseModel):
    """One method's answer to one text; without a label, ``problem`` says why."""

    label: str | None = None
    probabilities: dict[str, float] = {}
    ms: float | None = Field(default=None, description="Milliseconds the model spent on this text.")
    notes: list[str] = []
    model: str = ""
    problem: str = ""

    @classmethod
    def of(cls, result: MethodResult) -> "MethodAnswer":
        """A result as JSON has it."""
        if (prediction := result.prediction) is None:
            return cls(model=result.model, problem=result.problem)
        return cls(
            label=prediction.label,
            probabilities={} if prediction.label is None else dict(prediction.probabilities),
            ms=round(prediction.ms, 3),
            notes=list(prediction.notes),
            model=result.model,
            problem=result.why_none,
        )


class Answers(BaseModel):
    """For each text, in order: method -> its answer."""

    answers: list[dict[str, MethodAnswer]]


class ErrorResponse(BaseModel):
    """Why there is no answer, in one line."""

    error: str


# --- the application ----------------------------------------------------------------------------


def create_app(workers: Workers, on_shutdown: Callable[[], object] = ignore) -> FastAPI:
    """The service; a page may be mounted at ``/`` behind its routes.

    It warms the models up when it starts and closes the queues when it ends. It answers to the
    names in ``TUNESHOT_ALLOWED_HOSTS`` and to those of this machine. With ``TUNESHOT_API_TOKEN`` in
    the environment, ``/api/classify`` wants it as a bearer token.

    Args:
        workers: what answers.
        on_shutdown: called when the application ends.

    Raises:
        TuneshotError: as ``api_token`` and ``allowed_hosts``.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming_up = asyncio.create_task(workers.warm_up.run())
        try:
            yield
        finally:
            warming_up.cancel()
            on_shutdown()
            await asyncio.to_thread(workers.close)

    app = FastAPI(
        title="Tuneshot",
        description="Classifies messages with a fine-tuned model and a few-shot prompt.",
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages come from other machines
        redoc_url=None,
    )
    app.include_router(_health(workers))
    app.include_router(_api(workers, api_token()))
    app.add_middleware(Guard, hosts=allowed_hosts(), anywhere=HEALTH_AND_METRICS)
    for kind in (TuneshotError, RequestValidationError, StarletteHTTPException, Exception):
        app.add_exception_handler(kind, _error_response)
    app.add_middleware(AnswerBeforeStopping)
    return app


def _health(workers: Workers) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    registry = workers.metrics.registry
    ProcessCollector(registry=registry)

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        if reasons := workers.warm_up.reasons:
            return JSONResponse({"status": "not ready", "reasons": reasons}, 503)
        return JSONResponse({"status": "ready"})

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _api(workers: Workers, token: str | None) -> APIRouter:
    bearer = HTTPBearer(auto_error=False, description=f"What {API_TOKEN} says, if it is set.")

    async def authorized(
        sent: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    ) -> None:
        if token and not (
            sent and compare_digest(sent.credentials.encode("latin-1"), token.encode())
        ):
            raise HTTPException(
                401,
                "a token is needed; send the header Authorization: Bearer …",
                {"WWW-Authenticate": "Bearer"},
            )

    problems = {
        401: "The token is missing or wrong.",
        413: f"More than {MAX_BODY_BYTES:,} bytes.",
        422: "Something in the request is not allowed.",
        503: "Too many requests wait; see the header Retry-After.",
    }
    router = APIRouter(
        prefix="/api",
        responses={
            status: {"model": ErrorResponse, "description": description}
            for status, description in problems.items()
        },
    )

    async def classify(question: Texts) -> Answers:
        """Labels up to 256 texts. Several texts give way to people who type."""
        chosen = question.model_dump(exclude={"texts", "method"}, exclude_unset=True)
        settings = workers.session.usual.with_choices(chosen)
        for name, offers in workers.session.offers.items():  # they differ from server to server
            if getattr(settings, name) not in ("", *offers):
                raise unknown_choice(name, getattr(settings, name), offers)
        methods = tuple(workers.queues) if question.method == "both" else (question.method,)
        for number, text in enumerate(question.texts):
            if not text.strip():
                raise TuneshotError(f"texts[{number}] is empty; leave it out")
        by_method = await asyncio.gather(
            *(
                workers.classify(
                    method, settings, question.texts, background=len(question.texts) > 1
                )
                for method in methods
            )
        )
        return Answers(
            answers=[
                {result.method: MethodAnswer.of(result) for result in results}
                for results in zip(*by_method, strict=True)
            ]
        )

    # FastAPI makes the schema from this; the settings are known only now.
    classify.__annotations__["question"] = _question(workers.session.offers, workers.session.usual)
    router.post("/classify", dependencies=[Depends(authorized)])(classify)

    @router.api_route(
        "/{rest:path}",
        methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        include_in_schema=False,
    )
    async def elsewhere(rest: str) -> None:
        """Not the page that is mounted behind."""
        raise HTTPException(404, "there is POST /api/classify only; see /api/openapi.json")

    return router


# --- errors in one line -------------------------------------------------------------------------


async def _error_response(request: Request, error: Exception) -> JSONResponse:
    headers: Mapping[str, str] | None = None
    match error:
        case Busy():
            status, line, headers = 503, str(error), {"Retry-After": str(error.seconds)}
        case TuneshotError():
            status, line = 422, str(error)
        case RequestValidationError():
            status, line = 422, _invalid(error.errors()[0])
        case StarletteHTTPException():
            status, line, headers = error.status_code, str(error.detail), error.headers
        case _:
            status, line = 500, error_line(error)
    return JSONResponse({"error": line}, status, headers)


def _invalid(problem: Mapping[str, Any]) -> str:
    """What Pydantic found, in one line."""
    place = [str(part) for part in problem["loc"] if part != "body"]
    if problem["type"] == "extra_forbidden":
        return str(unknown_choice("field", place[-1], [*Texts.model_fields, *PAGE_SETTINGS]))
    return f"{'.'.join(place) or 'the request'}: {problem['msg']}"
