"""The service: what programs send, what they get back, and what they are told when it fails."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from clfcore.errors import TuneshotError
from clfcore.types import MAX_CHARACTERS
from icl.service.app import MAX_TEXTS, create_app
from icl.service.guard import MAX_BODY_BYTES, TOO_LARGE
from icl.session.settings import CHOICES, MAX_K, Settings
from tests.support.pages import free_port
from tests.support.service import HERE, METHODS, OFFERS, Spotter

JSON = {"Content-Type": "application/json"}
TOKEN = "größe-größer-am-größten"


@pytest.fixture
def spotter():
    spotter = Spotter()
    yield spotter
    spotter.open.set()
    spotter.workers.close()


@pytest.fixture
def app(spotter):
    return create_app(spotter.workers)


@pytest.fixture
def client(app):
    with TestClient(app, HERE, raise_server_exceptions=False) as client:
        yield client


def classify(client, *texts, **more):
    return client.post("/api/classify", json={"texts": texts, **more})


# --- answers ------------------------------------------------------------------------------------


def test_every_text_is_answered_by_both_methods_in_order(client):
    response = classify(client, "win a prize", "see you")
    assert response.status_code == 200
    first, second = response.json()["answers"]
    assert first["fine_tuned"] == {
        "label": "spam",
        "probabilities": {"ham": pytest.approx(0.1), "spam": 0.9},
        "ms": 1.5,
        "notes": ["a note"],
        "model": "tiny fine_tuned",
        "problem": "",
    }
    assert first["few_shot"]["model"] == "tiny few_shot"
    assert second["few_shot"]["label"] == "ham"


@pytest.mark.parametrize("method", ["fine_tuned", "few_shot"])
def test_one_method_is_asked_alone(client, spotter, method):
    (answer,) = classify(client, "win", method=method).json()["answers"]
    assert set(answer) == {method}
    assert {call[0] for call in spotter.asked} == {method}


def test_settings_reach_the_method_that_they_are_relevant_to(client, spotter):
    for_few_shot = {"selector": "random", "k": 0, "order": "random", "balance": "none"}
    models = {"task": "sst2", "lm": "writer", "checkpoint": "films"}
    assert classify(client, "win", **for_few_shot, **models).status_code == 200
    assert {method: settings for method, _, settings in spotter.asked} == {
        "fine_tuned": Settings(task="sst2", checkpoint="films"),
        "few_shot": Settings(**for_few_shot, task="sst2", lm="writer"),
    }


def test_a_full_request_keeps_its_order_and_shares_calls(client, spotter):
    texts = [f"{'win' if n % 3 else 'hi'} {n}" for n in range(MAX_TEXTS)]
    answers = classify(client, *texts, method="fine_tuned").json()["answers"]
    labels = [answer["fine_tuned"]["label"] for answer in answers]
    assert labels == ["spam" if n % 3 else "ham" for n in range(MAX_TEXTS)]
    assert len(spotter.asked) < MAX_TEXTS / 4


def test_a_missing_model_is_a_problem_of_its_method_with_what_to_do(client):
    (answer,) = classify(client, "missing", method="few_shot").json()["answers"]
    assert answer["few_shot"]["label"] is None
    assert answer["few_shot"]["problem"] == "no model; run: make setup"


def test_an_unexpected_error_is_the_problem_of_its_text_alone(client, caplog):
    answers = classify(client, "win", "bug", method="few_shot").json()["answers"]
    good, bad = (answer["few_shot"] for answer in answers)
    assert (good["label"], good["problem"]) == ("spam", "")
    assert bad["label"] is None
    assert "secret" not in bad["problem"]
    assert bad["problem"].split()[-1] in caplog.text  # the reference
    assert "secret.bin" in caplog.text


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ({}, "texts: Field required"),
        ({"texts": "hello"}, "texts: Input should be a valid list"),
        ({"texts": []}, "texts: List should have at least 1 item"),
        ({"texts": ["hi"] * (MAX_TEXTS + 1)}, f"texts: List should have at most {MAX_TEXTS}"),
        ({"texts": ["hi", 7]}, "texts.1: Input should be a valid string"),
        ({"texts": ["hi", " \n"]}, "texts[1] is empty; leave it out"),
        ({"texts": ["x" * (MAX_CHARACTERS + 1)]}, f"texts.0: String should have at most {10**5}"),
        ({"texts": ["half a pair \ud800"]}, "texts.0: Input should be a valid string"),
        ({"texts": ["hi"], "method": "best"}, "method: Input should be 'fine_tuned', 'few_shot'"),
        ({"texts": ["hi"], "selector": "topK"}, "unknown selector 'topK'; choose from zero"),
        ({"texts": ["hi"], "order": "best"}, "unknown order 'best'; choose from similar_last"),
        ({"texts": ["hi"], "balance": "even"}, "unknown balance 'even'; choose from "),
        ({"texts": ["hi"], "task": "spam"}, "unknown task 'spam'; choose from sms_spam, sst2"),
        ({"texts": ["hi"], "lm": "gpt"}, "unknown lm 'gpt'; choose from reader, writer"),
        (
            {"texts": ["hi"], "checkpoint": "/etc"},
            "unknown checkpoint '/etc'; choose from gpt2-mini",
        ),
        ({"texts": ["hi"], "taught": []}, "unknown field 'taught'; choose from texts, method"),
        ({"texts": ["hi"], "k": MAX_K + 1}, f"k: Input should be less than or equal to {MAX_K}"),
        ({"texts": ["hi"], "k": "4"}, "k: Input should be a valid integer"),
        ({"texts": ["hi"], "k": True}, "k: Input should be a valid integer"),
        ({"texts": ["hi"], "tmp": 1}, "unknown field 'tmp'; choose from texts, method, selector"),
    ],
)
def test_a_bad_request_is_refused_in_one_line(client, spotter, body, line):
    response = client.post("/api/classify", content=json.dumps(body), headers=JSON)
    assert response.status_code == 422
    assert list(response.json()) == ["error"]
    assert response.json()["error"].startswith(line)
    assert "\n" not in response.json()["error"]
    assert spotter.asked == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"texts": ["\xff"]}']
)
def test_what_is_not_the_json_asked_for_is_refused(client, content):
    response = client.post("/api/classify", content=content, headers=JSON)
    assert response.status_code in (400, 422)
    assert list(response.json()) == ["error"]


def in_pieces(size):
    """A body that does not announce its length."""
    yield b'{"texts": ["'
    for _ in range(size // 1000):
        yield b"x" * 1000
    yield b'"]}'


@pytest.mark.parametrize("content", [b"x" * (MAX_BODY_BYTES + 1), in_pieces(MAX_BODY_BYTES + 1)])
def test_a_large_body_is_refused_however_it_comes(client, content):
    response = client.post("/api/classify", content=content, headers=JSON)
    assert response.status_code == 413
    assert response.json() == {"error": TOO_LARGE}


@pytest.mark.parametrize(("verb", "path"), [("GET", "classify"), ("POST", "clasify"), ("PUT", "")])
def test_no_other_address_of_the_api_answers(client, verb, path):
    response = client.request(verb, f"/api/{path}")
    assert response.status_code == 404
    assert "POST /api/classify" in response.json()["error"]


def test_a_full_queue_is_service_unavailable_with_when_to_come_again():
    async def play():
        spotter = Spotter()
        spotter.workers.queues["fine_tuned"].max_waiting = 1
        app = create_app(spotter.workers)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
            spotter.open.clear()
            body = {"texts": ["a", "b", "c"], "method": "fine_tuned"}
            response = await client.post("/api/classify", json=body)
            spotter.open.set()
        spotter.workers.close()
        return response

    response = asyncio.run(play())
    assert response.status_code == 503
    assert response.json()["error"].startswith("1 messages are waiting already; try again in about")
    assert int(response.headers["Retry-After"]) > 0


def test_a_bug_of_ours_is_one_line_with_a_reference(app, caplog):
    @app.get("/broken")
    def broken():
        raise RuntimeError("secret")

    with TestClient(app, HERE, raise_server_exceptions=False) as client:
        response = client.get("/broken")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.json()["error"].split()[-1] in caplog.text


# --- the token ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("Bearer wrong", 401),
        ("Bearer", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
    ],
)
def test_with_a_token_only_who_has_it_is_answered(spotter, monkeypatch, header, status):
    monkeypatch.setenv("TUNESHOT_API_TOKEN", f"{TOKEN}\n")
    headers = {"Authorization": header.encode()} if header else {}
    with TestClient(create_app(spotter.workers), HERE) as client:
        response = client.post("/api/classify", json={"texts": ["hi"]}, headers=headers)
        assert client.get("/healthz").status_code == 200
    assert response.status_code == status
    if status == 401:
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert spotter.asked == []


@pytest.mark.parametrize(
    ("token", "complaint"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("x", "is too short: 1 of at least 16 characters"),
        ("x" * 40, "is predictable"),
        ("1234567890" * 4, "is predictable"),
    ],
)
def test_an_empty_or_guessable_token_is_no_open_door(spotter, monkeypatch, token, complaint):
    monkeypatch.setenv("TUNESHOT_API_TOKEN", token)
    with pytest.raises(TuneshotError, match=f"TUNESHOT_API_TOKEN {complaint}") as refused:
        create_app(spotter.workers)
    assert "secrets.token_hex(16)" in str(refused.value)


# --- health and figures -------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_health_and_metrics_are_answered_under_any_name(client, path):
    assert client.get(path, headers={"Host": "10.0.0.7:8000"}).status_code in (200, 503)
    assert client.get(f"{path}/x", headers={"Host": "10.0.0.7:8000"}).status_code == 403


def until(client, status):
    for _ in range(1000):
        if (response := client.get("/readyz")).status_code == status:
            return response.json()
    raise AssertionError(response.text)


def test_it_is_alive_at_once_and_ready_when_all_models_have_answered(app, spotter):
    spotter.open.clear()
    with TestClient(app, HERE) as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        reasons = until(client, 503)["reasons"]
        assert reasons == dict.fromkeys(METHODS, "its model is being loaded")
        spotter.open.set()
        assert until(client, 200) == {"status": "ready"}


def test_a_model_that_cannot_answer_is_named_and_asked_again(app, spotter, monkeypatch):
    broken = threading.Event()
    broken.set()
    answer = spotter.answer

    def fail_first(text):
        if broken.is_set():
            raise TuneshotError("no model; run: make setup")
        return answer(text)

    monkeypatch.setattr(spotter, "answer", fail_first)
    with TestClient(app, HERE) as client:
        while set(until(client, 503)["reasons"].values()) != {"no model; run: make setup"}:
            pass
        broken.clear()
        until(client, 200)


def test_prometheus_reads_requests_by_outcome_times_sizes_and_memory(client):
    until(client, 200)
    classify(client, "win", "hi", "missing", method="few_shot")
    classify(client, "win", method="fine_tuned")
    response = client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    lines = response.text.splitlines()
    figures = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    failed = float(figures['tuneshot_requests_total{method="few_shot",outcome="failed"}'])
    assert failed >= 1
    assert figures['tuneshot_requests_total{method="fine_tuned",outcome="answered"}'] == "2.0"
    assert figures['tuneshot_requests_total{method="fine_tuned",outcome="refused"}'] == "0.0"
    assert figures['tuneshot_waiting{method="few_shot"}'] == "0.0"
    assert figures['tuneshot_seconds_bucket{le="+Inf",method="fine_tuned"}'] == "2.0"
    assert figures['tuneshot_batch_size_bucket{le="1.0",method="fine_tuned"}'] == "2.0"
    assert float(figures["process_resident_memory_bytes"]) > 1e6


def test_the_schema_names_every_field_with_what_is_allowed_and_examples(client):
    schema = client.get("/api/openapi.json").json()
    assert list(schema["paths"]) == ["/api/classify"]
    question = schema["components"]["schemas"]["Question"]
    settings = {"selector", "k", "order", "balance", "task", "lm", "checkpoint"}
    assert set(question["properties"]) == {"texts", "method"} | settings
    for name, known in {
        **CHOICES,
        **{name: ["", *names] for name, names in OFFERS.items()},
    }.items():
        assert question["properties"][name]["enum"] == list(known)
    assert question["properties"]["texts"]["maxItems"] == MAX_TEXTS
    for example in question["examples"]:
        assert client.post("/api/classify", json=example).status_code == 200
    assert "HTTPBearer" in schema["components"]["securitySchemes"]


def test_when_it_ends_the_page_is_told_and_the_queues_are_closed(spotter):
    ended = []
    with TestClient(create_app(spotter.workers, lambda: ended.append("page"))):
        assert ended == []
    assert ended == ["page"]
    assert all("shutting" in str(_refused(queue)) for queue in spotter.workers.queues.values())


def _refused(queue):
    with pytest.raises(TuneshotError) as refused:
        asyncio.run(queue.ask(Settings(), "too late"))
    return refused.value


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def tuneshot(command, monkeypatch, spotter):
    """``tuneshot`` with these arguments, and with the doubles behind it."""
    from icl.chat import serve
    from icl.cli.tuneshot import main

    for name in ("TUNESHOT_CODES", "TUNESHOT_CODES_FILE", "TUNESHOT_AUTH_HEADER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUNESHOT_ALLOWED_HOSTS", "")  # so that what the command sets is undone
    monkeypatch.delenv("TUNESHOT_ALLOWED_HOSTS")
    application = lambda root_path: create_app(spotter.workers)  # noqa: E731
    monkeypatch.setattr(serve, "application", application, raising=False)
    return partial(command, main, "tuneshot")


def test_help_imports_no_model_library_and_no_page():
    program = (
        "import sys\n"
        "from icl.cli.tuneshot import app\n"
        "app(['serve', '--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'transformers', 'chainlit', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert b"--root-path" in done.stdout
    assert done.stdout.endswith(b"[]\n")


def test_a_taken_port_is_one_line_with_another(tuneshot):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = tuneshot("serve", "--port", port)
    assert code == 1
    assert err.count("\n") == 1
    assert f"cannot listen at 127.0.0.1, port {port} (Address already in use)" in err


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_are_let_in_only_with_a_login_a_token_and_a_name(
    tuneshot, monkeypatch, host
):
    where = ("serve", "--host", host, "--port", free_port())
    monkeypatch.delenv("TUNESHOT_API_TOKEN", raising=False)
    code, _, err = tuneshot(*where)
    assert (code, err.count("\n")) == (1, 1)
    assert "set TUNESHOT_CODES_FILE" in err
    monkeypatch.setenv("TUNESHOT_CODES", "anna:correct horse")
    code, _, err = tuneshot(*where)
    assert (code, err.count("\n")) == (1, 1)
    assert "set TUNESHOT_API_TOKEN" in err
    monkeypatch.setenv("TUNESHOT_API_TOKEN", "x")
    code, _, err = tuneshot(*where)
    assert (code, err.count("\n")) == (1, 1)
    assert "TUNESHOT_API_TOKEN is too short" in err
    monkeypatch.setenv("TUNESHOT_API_TOKEN", TOKEN)
    code, _, err = tuneshot(*where)
    assert (code, err.count("\n")) == (1, 1)
    assert "--allowed-host class.example.org, or set TUNESHOT_ALLOWED_HOSTS" in err


@pytest.mark.parametrize("name", ["*", "*.example.org", "https://a.example", "a.example:80", "a/b"])
@pytest.mark.parametrize("given", ["option", "variable"])
def test_an_allowed_host_that_is_no_name_is_one_line(tuneshot, monkeypatch, name, given):
    if given == "variable":
        monkeypatch.setenv("TUNESHOT_ALLOWED_HOSTS", name)
    code, _, err = tuneshot("serve", *(["--allowed-host", name] if given == "option" else []))
    assert (code, err.count("\n")) == (1, 1)
    assert f"{name!r} is not the name of a host" in err


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.0.2.7", False), ("localhost.example", False)],
)  # fmt: skip
def test_only_loopback_addresses_count_as_this_machine(host, own):
    from icl.lm.loopback import is_loopback

    assert is_loopback(host) is own


SERVER = """
import sys
sys.path.insert(0, sys.argv.pop())
import icl.chat.serve
from icl.service.app import create_app
from tests.support.service import Spotter
from icl.cli.tuneshot import main
spotter = Spotter()
icl.chat.serve.application = lambda root_path: create_app(spotter.workers)
main()
"""


@pytest.mark.slow
def test_a_real_server_answers_refuses_large_bodies_and_stops_when_told(tmp_path):
    port, here = free_port(), Path(__file__).parents[3]
    command = [sys.executable, "-c", SERVER, "serve", f"--port={port}", "--root-path=/shot", here]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        assert f"http://127.0.0.1:{port}/shot" in server.stderr.readline()
        address = f"http://127.0.0.1:{port}"
        transport = httpx.HTTPTransport(retries=5)
        with httpx.Client(base_url=address, transport=transport, timeout=20) as client:
            until(client, 200)
            assert client.get("/healthz").status_code == 200
            response = classify(client, "win", "hi")
            assert [a["few_shot"]["label"] for a in response.json()["answers"]] == ["spam", "ham"]
            assert client.get("/api/openapi.json").json()["servers"] == [{"url": "/shot"}]
            for content in (b"x" * (MAX_BODY_BYTES + 1), in_pieces(2 * MAX_BODY_BYTES)):
                assert client.post("/api/classify", content=content,
                                   headers=JSON).status_code == 413  # fmt: skip
        server.send_signal(signal.SIGINT)
        assert server.wait(15) == 130
        assert server.stderr.read() == "interrupted\n"
    finally:
        server.kill()
        server.stderr.close()


def test_the_page_on_serving_names_every_variable_limit_and_figure():
    root = Path(__file__).parents[3]
    page = (root / "docs/serving.md").read_text(encoding="utf-8")
    code = [root / "chat_app.py", *(root / "icl").rglob("*.py"), *(root / "clfcore").rglob("*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in code)
    assert {v for v in re.findall(r"\bTUNESHOT_[A-Z_]+\b", text) if f"`{v}`" not in page} == set()
    for number in (MAX_BODY_BYTES, MAX_TEXTS, MAX_CHARACTERS):
        assert f"{number:,}" in page
    metrics = re.findall(r'"(tuneshot_\w+)"', (root / "icl/session/queue.py").read_text("utf-8"))
    assert metrics
    for metric in metrics:
        assert metric in page
