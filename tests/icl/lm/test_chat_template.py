"""Chat templates are programs of strangers: what they compute is bounded, and one line says so."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from clfcore.errors import TuneshotError
from icl.lm import chat_template
from icl.lm.base import ChatMessage
from icl.lm.chat_template import ChatTemplate
from icl.lm.local import LocalLM
from tests.support.doubles import save_tiny_lm

USUAL = """
{%- for message in messages %}
    {%- if loop.first and message.role != 'system' %}{{ '<|end|>system' + '\n' }}{% endif %}
    {{- message.role ~ ': ' ~ message.content | trim }}{{ eos_token }}
{% endfor %}
{%- set ns = namespace(last=messages[-1].role) %}{{ ns.last | tojson }}
{%- if add_generation_prompt %}{% generation %}assistant:{% endgeneration %}{% endif %}
"""
CHATS = [
    [{"role": "user", "content": "win a prize"}],
    [{"role": "system", "content": " Label it. "}, {"role": "user", "content": "a<|end|>b ä 😀"}],
    [{"role": "user", "content": "{{ messages }} <|<|end|>end|>\n"}] * 3,
]
NESTED = "{% for a in range(99999) %}" * 5 + "{% set x = 1 %}" + "{% endfor %}" * 5
DOUBLED = (
    "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}"
    "{% endfor %}{{ ns.x }}"
)
HOSTILE = {
    "loops inside each other": NESTED,
    "a number that takes hours, when it is compiled": "{{ 9 ** (9 ** 9) }}",
    "a text of ten gigabytes, when it is compiled": "{{ 'a' * 10 ** 10 }}",
    "a text that doubles": DOUBLED,
    "a range of a billion": "{% for i in range(10 ** 9) %}x{% endfor %}",
    "a field of a billion letters": "{{ '%1000000000d' % 1 }}",
    "ten million letters": "{{ messages[0].content * 10 ** 6 }}",
    "a macro that calls itself": "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "loops of the parser": "{% if 1 %}" * 5_000 + "{% endif %}" * 5_000,
    "two hundred thousand letters": "x" * 200_001,
    "no Jinja": "{% for %}",
    "an unknown filter": "{{ 'a' | evil }}",
    "no number": "{{ 1 / 0 }}",
    "Python": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a file": "{% include '/etc/passwd' %}",
    "two lines": "{{ raise_exception('a\nb') }}",
}


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(chat_template, "SECONDS", 2)


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return LocalLM(str(save_tiny_lm(tmp_path_factory.mktemp("lm"))), "float32")


@pytest.fixture(scope="module")
def usual(lm):
    lm._tokenizer.chat_template = USUAL
    return ChatTemplate(lm._tokenizer, trusted=False), ChatTemplate(lm._tokenizer, trusted=True)


@pytest.mark.parametrize("chat", CHATS)
def test_a_chat_is_what_transformers_makes_of_it(lm, usual, chat):
    lm._tokenizer.chat_template = USUAL
    elsewhere, here = usual
    assert elsewhere.ids(chat) == here.ids(chat)


def test_threads_that_ask_at_once_get_their_own_chats(lm, usual):
    lm._tokenizer.chat_template = USUAL
    elsewhere, here = usual
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(elsewhere.ids, CHATS * 40)) == list(map(here.ids, CHATS)) * 40


@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_template_is_one_line(lm, template):
    lm._tokenizer.chat_template = template
    with pytest.raises(TuneshotError) as caught:
        lm.count_tokens((ChatMessage("user", "win a prize"),))
    line = str(caught.value)
    assert "use plain prompts" in line
    assert "\n" not in line
    assert len(line) < 500


def test_after_a_hostile_one_others_are_written(lm):
    lm._tokenizer.chat_template = USUAL
    assert lm.count_tokens((ChatMessage("user", "win a prize"),))


def test_a_template_that_is_no_text_is_one_line(lm):
    lm._tokenizer.chat_template = {"evil": USUAL}
    with pytest.raises(TuneshotError, match="no default"):
        lm.count_tokens((ChatMessage("user", "hi"),))


def test_its_process_ends_with_the_model(lm, usual):
    elsewhere, _ = usual
    lm._tokenizer.chat_template = USUAL
    elsewhere.ids(CHATS[0])
    process = elsewhere._process
    process.stdin.close()
    assert process.wait(10) == 0
