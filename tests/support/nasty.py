"""Texts that nobody writes by accident, made from a seed: to break a program, or to be misread."""

import base64
import random
import unicodedata
from collections.abc import Iterator

import numpy as np

from clfcore.evaluation.perturb import INJECTIONS, Fields, WrongAnswer, injection

FIELDS = Fields("SMS: ", "\nType:")

ORDERS = [
    injection(name, WrongAnswer(word, FIELDS)) for name in INJECTIONS for word in ("ham", "spam")
]

PIECES = (
    *ORDERS, "win a free prize", "see you at eight", "Call 0906 now", "ok", "12345", "£1,000",
    "<|endoftext|>", "<|im_start|>system\n", "<|im_end|>", "[INST]", "</s>", "[SEP]", "[PAD]",
    "\n", "\n\n", "\r\n", "\x0b", "\x85", "\u2028", "\t", "   ", "\xa0", "x" * 300, "the " * 80,
    "{text}", "{label}", "{0}", "%s", "${x}", "{{ messages }}", "{% for %}", "\\n", "(A) a (B) b",
    "\0", "\x1b[31m", "\x07", "\x7f", "\ufeff", "\u200b", "\u202e", "\ud83d", "\udc00", "\uffff",
    "=1+1", "@SUM(A1)", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "'; DROP x",
    "../../etc/passwd", '{"label": "ham"}', '"', "'", "`", "```", "|", "# x", "e\u0301\u0323",
    "😀🎉", "👩\u200d👧", "مرحبا", "你好", "\ufb01", "ß", "\U0001d4ef", "\u0430",
    "Z\u0351\u036b\u0343",
)  # fmt: skip


def hostile_messages(count: int, seed: int = 0) -> list[str]:
    """So many different messages, none of them blank: a few pieces each, in random order."""
    rng = np.random.default_rng(seed)
    messages: dict[str, None] = {}
    while len(messages) < count:
        picks = rng.integers(len(PIECES), size=rng.integers(1, 7))
        text = rng.choice(["", " "]).join(PIECES[pick] for pick in picks)
        if text.strip():
            messages[text] = None
    return list(messages)


_SENTENCES = (
    "You have won a prize of $1000! Call 09061701461 now.",
    "Are we still on for dinner tonight?",
    "Ihr Paket liegt bereit: https://example.org/zoll?id=7",
    "مرحبا، هل نلتقي الليلة؟",
    "您的账户已被锁定",
)


def nasty_texts(count: int, seed: int = 0, longest: int = 2_000) -> Iterator[str]:
    """``count`` texts of up to about ``longest`` characters; the same for the same seed."""
    rng = random.Random(seed)
    kinds = (
        _any_characters, _of_one_plane, _repeated, _heaped_accents, _with_marks, _mutated, _blank,
        _one_word, _lines, _encoded,
    )  # fmt: skip
    for number in range(count):
        yield kinds[number % len(kinds)](rng, 1 + int(longest ** rng.random()))


def _any_characters(rng: random.Random, length: int) -> str:
    return "".join(chr(rng.randrange(0x110000)) for _ in range(length))


def _of_one_plane(rng: random.Random, length: int) -> str:
    start = rng.randrange(0, 0x110000 - 256)
    return "".join(chr(start + rng.randrange(256)) for _ in range(length))


def _repeated(rng: random.Random, length: int) -> str:
    return rng.choice([*PIECES, "a", "😀", "👩‍👩‍👧", " ", "\n", "ﷺ"]) * (length // 4 + 1)


def _heaped_accents(rng: random.Random, length: int) -> str:
    accents = [chr(c) for c in range(0x300, 0x370)]
    text = "".join(rng.choice("spam ") + "".join(rng.choices(accents, k=20)) for _ in range(9))
    return unicodedata.normalize(rng.choice(["NFC", "NFD", "NFKC", "NFKD"]), text)[:length]


def _with_marks(rng: random.Random, length: int) -> str:
    return rng.choice(["", " ", "\n"]).join(
        rng.choice(rng.choice((PIECES, _SENTENCES))) for _ in range(length % 12 + 1)
    )


def _mutated(rng: random.Random, length: int) -> str:
    letters = list(rng.choice(_SENTENCES) * 3)
    for _ in range(length % 20 + 1):
        letters[rng.randrange(len(letters))] = rng.choice([chr(rng.randrange(0x3000)), "", "\0"])
    return "".join(letters)


def _blank(rng: random.Random, length: int) -> str:
    blanks = " \t\n\r\v\f\x1c\x85\xa0\u1680\u2000\u2028\u3000\u200b\ufeff"
    return "".join(rng.choice(blanks) for _ in range(rng.choice((0, 1, length))))


def _one_word(rng: random.Random, length: int) -> str:
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(length))


def _lines(rng: random.Random, length: int) -> str:
    return "\n".join(rng.choice((*_SENTENCES, "", "\t;,|")) for _ in range(length % 60 + 1))


def _encoded(rng: random.Random, length: int) -> str:
    return base64.b64encode(rng.randbytes(length)).decode()
