"""Messages of somebody who wants to break a program, or to be misread by it."""

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
