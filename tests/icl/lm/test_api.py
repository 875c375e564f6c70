import os
import re
import socket
import subprocess
import sys
import threading
import time
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clfcore.errors import TuneshotError
from clfcore.paths import cache_dir
from icl.lm.api import ApiLM
from icl.lm.base import ChatMessage, Generation, PromptTooLongError, ReplyToken
from icl.lm.open import open_lm
from icl.lm.provider import Pace
from tests.support.openai_server import (
    BEGIN,
    OpenAIServer,
    Reply,
    chat,
    failure,
    log_probability,
    no_choices,
    text,
    tokens_of,
)

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer")  # LiteLLM's

CHAT = "openai/gpt-4o-mini"
TEXT = "text-completion-openai/some-model"
KEY = "sk-secret-0123456789"
PROMPT = "Message: win a prize\nLabel:"
MALFORMED = Reply(b'{"choices": [{"message":')
PASSING = {
    "429": failure(429),
    "500": failure(500),
    "503": failure(503),
    "slow": Reply(chat("spam").body, delay=5),
    "cut off": Reply(chat("spam").body, cut=True),
    "malformed": MALFORMED,
    "no JSON": Reply(b"<html>"),
    "empty object": Reply({}),
    "no choices": no_choices(),
    "empty": chat(""),
    "null": chat(None),
}

_alone = threading.Event()
_outside: list[object] = []


def _refuse_outside(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    if _alone.is_set() and host not in ("127.0.0.1", "::1", "localhost"):
        _outside.append(host)
        raise OSError(f"a test wants to reach {host}")


sys.addaudithook(_refuse_outside)


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No network but this machine, none of the user's settings, a cache of its own."""
    for name in os.environ:
        if re.search(
            "_proxy$|_API_KEY$|_API_BASE$|_BASE_URL$|^TUNESHOT|^LITELLM|^OPENAI", name, re.I
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))
    _outside.clear()
    _alone.set()
    yield
    _alone.clear()
    assert not _outside


@pytest.fixture(scope="module")
def running():
    """One address for all tests: LiteLLM needs a tenth of a second to get ready for a new one."""
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def server(running):
    running.clear()
    return running


def connect(server, model=CHAT, **options):
    return ApiLM(model, server.url, **{"backoff": 0.001, "timeout": 0.3, **options})


def problem(call, *arguments):
    with pytest.raises(TuneshotError) as raised:
        call(*arguments)
    (line,) = str(raised.value).splitlines()
    assert KEY not in line
    return line


# --- asking ---------------------------------------------------------------------------------------


def test_text_is_sent_as_one_user_message_with_everything_that_makes_answers_repeatable(server):
    connect(server, seed=3).generate(PROMPT, max_tokens=5, stop=["\n"])
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.body == {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": PROMPT}],
        "temperature": 0,
        "seed": 3,
        "max_tokens": 5,
        "stop": ["\n"],
        "logprobs": True,
        "top_logprobs": 20,
    }
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_a_chat_is_sent_turn_by_turn(server):
    turns = (
        ChatMessage("system", "Label it."),
        ChatMessage("user", "hi"),
        ChatMessage("assistant", "ham"),
    )
    connect(server).generate((*turns, ChatMessage("user", "win")))
    sent = server.requests[0].body["messages"]
    assert [(turn["role"], turn["content"]) for turn in sent] == [
        ("system", "Label it."), ("user", "hi"), ("assistant", "ham"), ("user", "win"),
    ]  # fmt: skip


WRITTEN = {"sp": -0.25, "ham": -2.0}, {"am": -0.01, "orty": -5.0}


def test_an_answer_tells_count_and_price_of_tokens_and_what_else_was_likely(server):
    server.script(chat("spam", *WRITTEN))
    lm = connect(server)
    dollars = pytest.approx(7 * 0.15e-6 + 2 * 0.60e-6)
    written = (ReplyToken("sp", WRITTEN[0]), ReplyToken("am", WRITTEN[1]))
    assert lm.generate(PROMPT) == Generation("spam", 7, 2, dollars, written)


@pytest.mark.parametrize("like_chats", [True, False], ids=["llama.cpp", "vLLM"])
def test_a_texts_tokens_are_read_in_the_form_of_each_server(server, like_chats):
    server.script(text("spam", *WRITTEN, like_chats=like_chats))
    written = (ReplyToken("sp", WRITTEN[0]), ReplyToken("am", WRITTEN[1]))
    answer = connect(server, TEXT).generate(PROMPT)
    assert (answer.text, answer.written, answer.prompt_tokens) == ("spam", written, 7)


def test_without_log_probabilities_nothing_else_was_likely(server):
    assert connect(server).generate(PROMPT).written == ()


def test_log_probabilities_need_not_be_asked_for(server):
    connect(server, logprobs=False).generate(PROMPT)
    assert not {"logprobs", "top_logprobs"} & server.requests[0].body.keys()


def test_an_unknown_price_is_none(server):
    assert connect(server, "openai/my-own-model").generate(PROMPT).dollars is None


def test_a_server_that_does_not_count_has_no_known_price(server):
    server.script(Reply({**chat("spam").body, "usage": None}))
    assert connect(server).generate(PROMPT) == Generation("spam", 0, 0, None)


def test_a_server_of_ones_own_needs_no_key(server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    assert connect(server, "openai/my-own-model").generate(PROMPT).text == "spam"


def test_the_address_may_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    assert ApiLM(CHAT).generate(PROMPT).text == "spam"


def test_anthropic_is_not_asked_for_what_it_does_not_know(server, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    server.script(
        Reply(
            {
                "id": "1",
                "type": "message",
                "role": "assistant",
                "model": "scripted",
                "content": [{"type": "text", "text": "spam"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 7, "output_tokens": 2},
            }
        )
    )
    lm = connect(server, "anthropic/claude-haiku-4-5")
    answer = lm.generate(
        (ChatMessage("system", "Label it."), ChatMessage("user", "hi")), stop=["END"]
    )
    assert (answer.text, answer.prompt_tokens, answer.tokens) == ("spam", 7, 2)
    assert answer.dollars > 0
    assert not {"seed", "logprobs", "top_logprobs"} & server.requests[0].body.keys()


def test_ollama_answers(server):
    server.script(
        Reply(
            {
                "message": {"role": "assistant", "content": "spam"},
                "done": True,
                "done_reason": "stop",
                "prompt_eval_count": 7,
                "eval_count": 2,
            }
        )
    )
    url = server.url.removesuffix("/v1")
    answer = ApiLM("ollama_chat/llama3", url).generate(PROMPT)
    assert (answer.text, answer.prompt_tokens, answer.tokens) == ("spam", 7, 2)
    assert server.requests[0].body["options"]["temperature"] == 0


@settings(max_examples=15)
@given(st.text(st.characters()))
def test_any_text_arrives_as_it_is(running, words):
    running.clear()
    connect(running, cache=False).generate(words)
    (turn,) = running.requests[0].body["messages"]
    assert turn["content"] == words.encode("utf-8", "replace").decode()


def test_the_budget_fits_the_model():
    assert ApiLM(CHAT).prompt_limit() == 8192
    assert ApiLM("ollama/llama3").prompt_limit() == 8192 - 256
    assert ApiLM("openai/never-heard-of").prompt_limit() == 8192


def test_a_longer_prompt_is_allowed_as_far_as_the_models_window_is_known():
    assert ApiLM(CHAT).prompt_limit(100_000) == 100_000
    assert ApiLM("openai/never-heard-of").prompt_limit(20_000) == 20_000
    with pytest.raises(TuneshotError, match="must be at most 8192, which is all that ollama"):
        ApiLM("ollama/llama3").prompt_limit(20_000)


def test_tokens_are_counted_without_a_server():
    lm = ApiLM(CHAT)
    assert lm.count_tokens("win a prize") == 3
    assert (
        lm.count_tokens((ChatMessage("user", "win a prize"), ChatMessage("user", "hi")))
        == 3 + 4 + 1 + 4
    )


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_fault_that_passes_is_not_noticed(server, fault):
    server.script(fault, chat("spam"))
    assert connect(server).generate(PROMPT).text == "spam"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (
            PASSING["429"],
            "over its limit after 3 tries in 1 s: as scripted; ask less often with --requests",
        ),
        (
            PASSING["500"],
            "no usable reply after 3 tries in 1 s: as scripted; check that the server runs",
        ),
        (
            PASSING["slow"],
            "did not answer within 0.1 s after 3 tries in 1 s; allow more with --timeout",
        ),
        (PASSING["cut off"], "no usable reply after 3 tries in 1 s: Connection error;"),
        (PASSING["malformed"], "no usable reply after 3 tries in 1 s: .*Expecting"),
        (PASSING["no choices"], "no usable reply after 3 tries in 1 s: the reply has no choices;"),
        (PASSING["empty"], r"no usable reply after 3 tries in 1 s: an empty answer \(stop\)"),
    ],
    ids=["429", "500", "slow", "cut off", "malformed", "no choices", "empty"],
)
def test_a_fault_that_stays_is_one_clear_line(server, fault, says):
    server.script(fault, fault, fault)
    line = problem(connect(server, retries=2, timeout=0.1).generate, PROMPT)
    assert re.search(says, line), line
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (failure(400, "no top_logprobs here"), "no top_logprobs here; .* use --no-logprobs"),
        (failure(401, f"bad key {KEY}"), r"refused the key \(401\); .* OPENAI_API_KEY"),
        (failure(403), r"refused the key \(403\)"),
        (failure(404, "no such model"), "no such model; check the model's name"),
        (failure(400, f"This model's maximum context length is 5. {KEY}"), "show fewer examples"),
        (failure(400, "invalid_request_error: content_policy_violation"), "leave this message out"),
        (chat(None, finish="content_filter"), r"empty answer \(content_filter\): .* leave this"),
        (chat("", finish="length"), r"empty answer \(length\): .* choose a model that answers"),
        (Reply({"error": "no"}), "no reason given"),
    ],
)
def test_what_will_not_pass_is_asked_once_and_not_kept(server, fault, says):
    server.script(fault)
    lm = connect(server)
    line = problem(lm.generate, PROMPT)
    assert re.search(says, line), line
    assert len(server.requests) == 1
    assert not lm.generate(PROMPT).cached


@pytest.mark.parametrize(
    ("says", "share"),
    [
        ("request (9031 tokens) exceeds the available context size (8192 tokens)", 8192 / 9031),
        ("This model's maximum context length is 4096 tokens. However, your request has 5,000 "
         "input tokens.", 4096 / 5000),
        ("Your input exceeds the context window of this model", 0.9 / 0.97),
    ],
    ids=["llama.cpp", "vLLM", "OpenAI"],
)  # fmt: skip
def test_a_prompt_that_is_too_long_says_how_much_of_it_fits(server, says, share):
    server.script(failure(400, says))
    with pytest.raises(PromptTooLongError, match="finds the prompt too long") as raised:
        connect(server).generate(PROMPT)
    assert raised.value.share == pytest.approx(0.97 * share)


@pytest.fixture
def no_pauses(monkeypatch):
    """A test fails where the program would wait for another try."""

    def refuse(seconds):
        assert seconds < 0.1, f"it waits {seconds} s for another try"

    monkeypatch.setattr("tenacity.nap.time.sleep", refuse)


@pytest.mark.parametrize("model", [CHAT, TEXT, "ollama_chat/llama3"])
def test_where_nothing_listens_on_this_machine_nobody_waits(no_pauses, model):
    with OpenAIServer() as server:
        pass
    line = problem(connect(server, model, backoff=60).generate, PROMPT)
    assert "nothing listens at this address; start the server" in line


@pytest.mark.parametrize("model", [CHAT, "ollama_chat/llama3"])
@pytest.mark.parametrize("proxy", ["", "http://proxy.example:3128"])
def test_a_machine_that_does_not_exist_is_asked_once(no_pauses, monkeypatch, model, proxy):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    if proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
    line = problem(ApiLM(model, "http://gpu-sever.example/v1", backoff=60).generate, PROMPT)
    assert "no machine is called gpu-sever.example; check the base URL" in line
    assert ("or HTTP_PROXY" in line) is bool(proxy)


def test_a_name_server_that_is_silent_for_a_moment_is_not_noticed(monkeypatch):
    lookup, silent = socket.getaddrinfo, [True]

    def silent_once(*arguments, **options):
        if silent:
            silent.clear()
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return lookup(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", silent_once)
    with OpenAIServer() as server:
        assert connect(server).generate(PROMPT).text == "spam"
    assert not silent


def test_a_proxy_that_needs_a_missing_package_is_one_clear_line(no_pauses, monkeypatch):
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    line = problem(ApiLM(CHAT, "http://gpu-server.example/v1", backoff=60).generate, PROMPT)
    assert "through the proxy of ALL_PROXY" in line
    assert "pip install 'httpx[socks]'" in line


def test_a_proxy_that_is_no_address_is_one_clear_line(no_pauses, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "proxy+tls://127.0.0.1:1080")
    line = problem(ApiLM(CHAT, "http://gpu-server.example/v1", backoff=60).generate, PROMPT)
    assert "through the proxy of ALL_PROXY: Unknown scheme" in line


@pytest.mark.parametrize("model", [CHAT, TEXT, "ollama_chat/llama3"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("exempt", ["", "intranet.example"])
def test_no_proxy_catches_a_server_on_this_machine(monkeypatch, model, host, exempt):
    with OpenAIServer() as server:
        server.script(*[Reply({"message": {"role": "assistant", "content": "spam"}, "done": True})]
                      * model.startswith("ollama"))  # fmt: skip
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, exempt)
        url = server.url.replace("127.0.0.1", host)
        assert ApiLM(model, url, retries=0).generate(PROMPT).text
        assert len(server.requests) == 1


def test_a_server_on_this_machine_needs_no_package_of_a_proxy(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    for model in (CHAT, TEXT):
        assert connect(server, model, retries=0).generate(PROMPT).text


def test_faults_print_nothing(server, capfd):
    server.script(failure(500), MALFORMED, failure(401))
    problem(connect(server).generate, PROMPT)
    assert capfd.readouterr() == ("", "")


def test_the_server_says_how_long_to_wait(server):
    server.script(failure(429, Retry_After="0.2"))
    start = time.monotonic()
    connect(server).generate(PROMPT)
    assert 0.2 <= time.monotonic() - start


def test_a_date_that_is_over_is_no_wait(server):
    server.script(failure(503, Retry_After=formatdate(time.time() - 5, usegmt=True)))
    start = time.monotonic()
    connect(server, backoff=60).generate(PROMPT)
    assert time.monotonic() - start < 10


def test_nobody_waits_an_hour(server):
    server.script(failure(429, Retry_After="3600"))
    assert "asks to wait 3,600 s" in problem(connect(server).generate, PROMPT)
    assert len(server.requests) == 1


def test_waits_double_up_to_a_minute_with_jitter(server, monkeypatch):
    waits = []
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: waits.append(seconds))
    server.script(*[failure(500)] * 4)
    connect(server, backoff=16).generate(PROMPT)
    for waited, longest in zip(filter(None, waits), [16, 32, 60, 60], strict=True):
        assert longest / 2 <= waited <= longest


# --- keys -----------------------------------------------------------------------------------------


def test_without_a_key_nobody_is_asked(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    for model, variable in {
        CHAT: "OPENAI_API_KEY",
        TEXT: "OPENAI_API_KEY",
        "anthropic/claude-haiku-4-5": "ANTHROPIC_API_KEY",
        "groq/llama-3.1-8b-instant": "GROQ_API_KEY",
    }.items():
        assert f"needs a key; set {variable}" in problem(ApiLM(model).generate, PROMPT)


def test_the_key_is_kept_nowhere(server):
    lm = connect(server)
    lm.generate(PROMPT)
    assert KEY not in repr([vars(lm), vars(lm._provider)])
    for path in cache_dir().iterdir():
        assert KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_a_server_that_quotes_the_key_is_not_quoted(server, status):
    server.script(failure(status, f"I got {KEY} from you"))
    problem(connect(server, retries=0).generate, PROMPT)  # which looks for the key


# --- wrong use ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"model": "gpt-99"}, "unknown model 'gpt-99'; write provider/name"),
        ({"model": "hosted_vllm/mine"}, "say where, with --base-url"),
        ({"model": CHAT, "base_url": "localhost:8000"}, "base_url 'localhost:8000' is not"),
        ({"model": CHAT, "base_url": f"http://me:{KEY}@here/v1"}, "a key belongs into the env"),
        ({"model": CHAT, "base_url": f"http://here/v1?key={KEY}"}, "a key belongs into the env"),
        ({"model": CHAT, "timeout": 0}, "timeout=0"),
        ({"model": CHAT, "retries": -1}, "retries=-1"),
        ({"model": CHAT, "requests_a_minute": 0}, "requests_a_minute must be above 0"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments, says):
    assert says in problem(lambda: ApiLM(**arguments))


def test_without_litellm_the_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "litellm", None)
    assert problem(ApiLM, CHAT).endswith("run: pip install 'tuneshot[api]'")


def test_importing_the_module_imports_no_litellm():
    code = "import sys, icl.lm.api; sys.exit('litellm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


# --- scoring a given text -------------------------------------------------------------------------


def expected(prompt, continuation):
    read = [BEGIN, *tokens_of(prompt)]
    scores = []
    for token in tokens_of(continuation):
        scores.append(log_probability(read, token))
        read.append(token)
    return tuple(scores)


@pytest.mark.parametrize("generates", [True, False])
def test_continuations_are_scored_token_by_token(server, generates):
    server.generates = generates
    lm = connect(server, TEXT)
    assert lm.scores
    labels = [" ham", " spam", " not egg", " not ham at all"]
    scored = lm.read(PROMPT, labels)
    assert scored.log_probabilities == tuple(expected(PROMPT, label) for label in labels)
    assert [len(tokens) for tokens in scored.tokens] == [1, 1, 2, 4]
    assert scored.tokens[2][0] == scored.tokens[3][0]  # the same word is the same token
    assert len({tokens[-1] for tokens in scored.tokens}) == 4
    assert scored.totals == [sum(expected(PROMPT, label)) for label in labels]
    assert scored.dollars is None  # LiteLLM's table has no price of this model
    assert scored.prompt == ()


def test_scoring_costs_what_its_requests_cost(server):
    lm = connect(server, "text-completion-openai/gpt-3.5-turbo-instruct")
    scored = lm.read(PROMPT, [" ham", " spam"])
    texts = [PROMPT, PROMPT + " ham", PROMPT + " spam"]
    read = sum(1 + len(tokens_of(text)) for text in texts)
    assert scored.dollars == pytest.approx(read * 1.5e-6 + len(texts) * 2e-6)
    assert lm.read(PROMPT, [" ham", " spam"]) == scored  # out of the cache


def test_the_end_of_the_prompt_is_scored_from_the_token_that_holds_a_character(server):
    lm = connect(server, TEXT)
    whole = expected("", PROMPT)
    assert lm.read(PROMPT, [" ham"], since=0).prompt == whole
    ends = [len("".join(tokens_of(PROMPT)[: i + 1])) for i in range(len(whole))]
    for since in range(len(PROMPT) + 1):
        held = [score for score, end in zip(whole, ends, strict=True) if end > since]
        assert lm.read(PROMPT, [" ham"], since).prompt == tuple(held)


def test_texts_are_scored_once(server):
    connect(server, TEXT).read(PROMPT, [" ham", " spam"])
    connect(server, TEXT).read(PROMPT, [" spam", " egg"])
    assert len(server.requests) == 4  # the prompt, and three labels


def test_a_label_that_joins_the_prompt_is_refused(server):
    assert "joins the prompt's end with 'ham'" in problem(
        connect(server, TEXT).check, "Label", ["ham"]
    )


def echo(pieces, prompt_tokens):
    logprobs = {"tokens": pieces, "token_logprobs": [None, *[-1.0] * (len(pieces) - 1)]}
    return Reply(
        {
            "choices": [{"index": 0, "text": "", "logprobs": logprobs}],
            "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": 1, "total_tokens": 0},
        }
    )


@pytest.mark.parametrize(
    "reply",
    [chat("spam"), Reply({"choices": [{"text": "x"}]}), echo(["Label", ":", " x", " y"], 2)],
)
def test_a_server_that_cannot_score_says_so(server, reply):
    server.script(reply, reply)
    line = problem(connect(server, TEXT).check, PROMPT, [" ham"])
    assert "does not give the log-probabilities" in line


def test_a_chat_model_only_answers(server):
    lm = connect(server)
    assert not lm.scores
    assert "only answers" in problem(lm.check, PROMPT, [" ham"])
    assert server.requests == []


def test_a_text_model_continues_text_and_knows_no_chat(server):
    lm = connect(server, TEXT)
    answer = lm.generate(PROMPT, max_tokens=1)
    assert answer.text == " end"
    (token,) = answer.written
    assert token.likeliest == {" end": log_probability([BEGIN, *tokens_of(PROMPT)], " end")}
    assert server.requests[0].body["prompt"] == PROMPT
    assert "knows no chat" in problem(lm.generate, (ChatMessage("user", "hi"),))


def test_without_chat_a_server_of_ones_own_continues_plain_text(server):
    lm = connect(server, "openai/local", chat=False)
    assert (lm.name, lm.prefers_chat) == ("text-completion-openai/local", False)
    lm.generate(PROMPT)
    (request,) = server.requests
    assert (request.path, request.body["prompt"]) == ("/v1/completions", PROMPT)
    assert (request.body["model"], request.body["logprobs"]) == ("local", 20)


def test_without_chat_a_providers_chat_model_gets_the_plain_prompt_as_a_message():
    assert ApiLM(CHAT, chat=False).prefers_chat


def test_what_a_model_prefers_follows_from_its_name(server):
    assert connect(server).prefers_chat
    assert not connect(server, TEXT).prefers_chat


@pytest.mark.parametrize(
    "reply",
    [text(" spam", {" spam": -0.1}, like_chats=True), failure(400, "echo is not supported")],
    ids=["llama.cpp", "OpenAI"],
)
def test_a_server_that_cannot_score_still_says_how_likely_its_answer_was(server, reply):
    server.script(reply, text(" spam", {" spam": -0.1, " ham": -3.0}, like_chats=True))
    lm = connect(server, TEXT)
    assert not lm.scores
    (token,) = lm.generate(PROMPT).written
    assert token.likeliest == {" spam": -0.1, " ham": -3.0}
    assert not lm.scores
    assert len(server.requests) == 2  # it was asked once what it can


# --- the environment ------------------------------------------------------------------------------


def test_the_address_of_a_server_of_ones_own_may_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("TUNESHOT_BASE_URL", server.url)
    assert open_lm("api:openai/local").generate(PROMPT).text == "spam"
    assert ApiLM("hosted_vllm/local").base_url == server.url
    assert ApiLM("openai/local", "http://127.0.0.1:9/v1").base_url == "http://127.0.0.1:9/v1"


def test_another_providers_key_is_not_sent_there(server, monkeypatch):
    monkeypatch.setenv("TUNESHOT_BASE_URL", server.url)
    assert ApiLM("anthropic/claude-haiku-4-5").base_url is None


def test_time_out_pace_and_log_probabilities_may_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("TUNESHOT_TIMEOUT", "0.1")
    monkeypatch.setenv("TUNESHOT_REQUESTS_A_MINUTE", "1e9")
    monkeypatch.setenv("TUNESHOT_LOGPROBS", "false")
    server.script(PASSING["slow"])
    lm = open_lm(f"api:{CHAT}", server.url, retries=0)
    assert "within 0.1 s" in problem(lm.generate, PROMPT)
    assert "logprobs" not in server.requests[0].body
    monkeypatch.setenv("TUNESHOT_TIMEOUT", "soon")
    assert "TUNESHOT_TIMEOUT must be a number" in problem(open_lm, f"api:{CHAT}")
    monkeypatch.setenv("TUNESHOT_TIMEOUT", "-1")
    assert "timeout must be positive" in problem(open_lm, "api:openai/other")


def test_a_local_model_has_no_address(monkeypatch):
    assert "belongs to a model behind an API" in problem(open_lm, None, "http://127.0.0.1:8000/v1")


# --- the cache ------------------------------------------------------------------------------------


def test_nothing_is_asked_twice(server, monkeypatch):
    server.script(chat("spam", {"spam": -0.25}))
    first = connect(server).generate(PROMPT)
    monkeypatch.delenv("OPENAI_API_KEY")
    again = connect(server)
    assert again.generate(PROMPT) == Generation(
        "spam", 7, 2, first.dollars, (ReplyToken("spam", {"spam": -0.25}),), cached=True
    )
    assert len(server.requests) == 1


def test_another_question_is_another_answer(server):
    lm = connect(server)
    lm.generate(PROMPT)
    lm.generate(PROMPT, max_tokens=33)
    lm.generate(PROMPT, stop=["\n"])
    lm.generate((ChatMessage("system", PROMPT),))
    connect(server, seed=1).generate(PROMPT)
    connect(server, "openai/gpt-4o").generate(PROMPT)
    ApiLM(CHAT, server.url + "/").generate(PROMPT)
    assert len(server.requests) == 7


def test_the_cache_can_be_off(server):
    lm = connect(server, cache=False)
    assert not lm.generate(PROMPT).cached
    assert not lm.generate(PROMPT).cached
    assert len(server.requests) == 2
    assert not cache_dir().exists()


def test_a_damaged_cache_is_empty(server):
    lm = connect(server)
    lm.generate(PROMPT)
    (cache_dir() / "answers.sqlite").write_bytes(b"not a database " * 1000)
    assert not lm.generate(PROMPT).cached
    assert lm.generate(PROMPT).cached


def test_a_reply_that_cannot_be_kept_is_an_answer_all_the_same(server, capfd):
    cache_dir().write_text("a file where the folder should be")
    lm = connect(server)
    assert not lm.generate(PROMPT).cached
    assert not lm.generate(PROMPT).cached
    assert capfd.readouterr().err.count("set TUNESHOT_CACHE") == 1


# --- threads --------------------------------------------------------------------------------------


def test_threads_share_a_model(server):
    lm = connect(server)
    threads = [
        threading.Thread(target=lm.generate, args=(f"message {i}",), daemon=True) for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(server.requests) == 6
    assert all(lm.generate(f"message {i}").cached for i in range(6))


def test_requests_start_at_equal_distances_whichever_thread_sends_them():
    pace = Pace(60 / 0.02)  # one in 20 ms
    starts = []

    def send():
        pace.wait()
        starts.append(time.monotonic())

    threads = [threading.Thread(target=send) for _ in range(5)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, start in enumerate(sorted(starts)):
        assert start - begin >= 0.02 * i


def test_repetitions_keep_the_pace(server):
    server.script(failure(500), failure(500))
    begin = time.monotonic()
    connect(server, requests_a_minute=60 / 0.05).generate(PROMPT)
    assert time.monotonic() - begin >= 0.1
