"""An OpenAI-compatible server on 127.0.0.1: real HTTP, scripted replies, every fault on demand."""

import contextlib
import json
import re
import threading
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BEGIN = "<s>"  # put before every scored text, as most models do


@dataclass(frozen=True)
class Reply:
    """One answer of the server.

    ``body`` is sent as JSON, bytes as they are; ``cut`` closes the connection in the middle of it.
    """

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


def chat(text: str | None, *written: dict[str, float], finish: str = "stop") -> Reply:
    """A chat completion of 7 + 2 tokens.

    ``written``: the log-probabilities of the likeliest tokens at each place, those of the reply
    first; as OpenAI, vLLM and llama.cpp write them.
    """
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": finish,
        "logprobs": {"content": list(map(_position, written))} if written else None,
    }
    return _completion("chat.completion", [choice], 7, 2)


def text(words: str, *written: dict[str, float], like_chats: bool = False) -> Reply:
    """A text completion of 7 + 2 tokens; ``like_chats``: as llama.cpp writes it, else as vLLM."""
    firsts = [next(iter(likeliest.items())) for likeliest in written]
    choice = {
        "index": 0,
        "text": words,
        "finish_reason": "stop",
        "logprobs": {"content": list(map(_position, written))}
        if like_chats
        else {
            "tokens": [token for token, _ in firsts],
            "token_logprobs": [score for _, score in firsts],
            "top_logprobs": list(written),
            "text_offset": [0] * len(written),
        },
    }
    return _completion("text_completion", [choice], 7, 2)


def no_choices() -> Reply:
    return _completion("chat.completion", [], 7, 0)


def failure(status: int, message: str = "as scripted", **headers: str) -> Reply:
    body = {"error": {"message": message, "type": "error", "param": None, "code": None}}
    return Reply(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


def tokens_of(text: str) -> list[str]:
    """Words with their leading space, and single other characters."""
    return re.findall(r" ?\w+|\W", text)


def log_probability(before: Sequence[str], token: str) -> float:
    """Any number between -8 and 0 that depends on all that was read."""
    return -(zlib.crc32("|".join([*before, token]).encode()) % 8000) / 1000


class OpenAIServer:
    """Serves while in a ``with`` block: scripted replies first, then friendly ones for ever.

    ``generates``: whether an echo of the prompt ends with a new token; vLLM's does.
    """

    def __init__(self) -> None:
        self.generates = True
        self.requests: list[Request] = []
        self._script: deque[Reply] = deque()
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def script(self, *replies: Reply) -> None:
        self._script.extend(replies)

    def clear(self) -> None:
        """Forgets what was scripted and what was asked."""
        self.generates = True
        self.requests.clear()
        self._script.clear()

    def __enter__(self) -> "OpenAIServer":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()  # slow replies need not be waited for
        self._server.shutdown()
        self._server.server_close()

    def reply(self, request: Request) -> Reply:
        self.requests.append(request)
        if self._script:
            return self._script.popleft()
        if request.path == "/v1/completions":
            return _continue(request.body, self.generates)
        return chat("spam")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(size))
                reply = outer.reply(Request(self.path, dict(self.headers), body))
                outer._closing.wait(reply.delay)
                data = reply.body if isinstance(reply.body, bytes) else _json(reply.body)
                self.send_response(reply.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if reply.cut else data)

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):  # the client gave up
                    super().handle()

        return Handler


def _continue(body: dict[str, Any], generates: bool) -> Reply:
    """What vLLM answers: one new token, and with ``echo`` the prompt's tokens before it."""
    read = [BEGIN, *tokens_of(body["prompt"])]
    tokens = [*read, " end"] if generates else read
    scores = [log_probability(tokens[:i], token) for i, token in enumerate(tokens)]
    start = 0 if body.get("echo") else len(read)
    logprobs = {
        "tokens": tokens[start:],
        "token_logprobs": [None, *scores[1:]][start:],
        "top_logprobs": [{token: score} for token, score in zip(tokens, scores, strict=True)][
            start:
        ],
    }
    choice = {
        "index": 0,
        "text": "".join(tokens[start:]),
        "finish_reason": "length",
        "logprobs": logprobs if body.get("logprobs") else None,
    }
    return _completion("text_completion", [choice], len(read), 1)


def _completion(kind: str, choices: list[Any], prompt_tokens: int, tokens: int) -> Reply:
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": tokens,
        "total_tokens": prompt_tokens + tokens,
    }
    return Reply(
        {
            "id": "1",
            "object": kind,
            "created": 0,
            "model": "scripted",
            "choices": choices,
            "usage": usage,
        }
    )


def _position(first: dict[str, float]) -> dict[str, Any]:
    found = [{"token": token, "logprob": score, "bytes": None} for token, score in first.items()]
    return {**found[0], "top_logprobs": found}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
