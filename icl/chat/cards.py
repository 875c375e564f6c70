"""From a reply to what the page draws: the verdict in one line, and the card's properties.

All wording and all formatting of numbers is here; public/elements/CompareCard.jsx only lays out.
Properties are plain JSON and small: they travel with every answer.
"""

import re
from typing import Any

from icl.chat.controls import order_words, selector_words
from icl.classify import FewShotPrediction
from icl.prompt import Demonstration
from icl.selectors import SELECTORS
from icl.session import Reply, Settings, Side
from icl.views import Completion, word

TITLES = {"fine_tuned": "Fine-tuned", "few_shot": "Few-shot"}

MAX_SHOWN = 600  # characters of one example


def verdict(reply: Reply) -> str:
    """The reply in one line of plain words: for screen readers, for copying, for the eye."""
    answers = [
        (TITLES[side.method], word(side.prediction.label))
        for side in reply.sides
        if side.prediction
    ]
    if not answers:
        return "No answer: the card says why."
    if len(answers) < len(reply.sides):
        silent = " and ".join(TITLES[s.method].lower() for s in reply.sides if not s.prediction)
        return f"{answers[0][0]} says {answers[0][1]}; {silent} has no answer."
    if len(answers) == 1:
        return f"{answers[0][0]} says {answers[0][1]}."
    if len(set(reply.labels)) == 1:
        return f"Both say {answers[0][1]}."
    return (
        "They disagree: " + ", ".join(f"{who.lower()} says {what}" for who, what in answers) + "."
    )


def card(reply: Reply) -> dict[str, Any]:
    """The properties of the compare card, JSON-safe."""
    return {"sides": [_side(side) for side in reply.sides]}


def completion_card(written: Completion) -> dict[str, Any]:
    """The properties of a free prompt's card, JSON-safe."""
    return {
        "text": written.text,
        "prompt": written.prompt,
        "model": written.model,
        "facts": [milliseconds(written.ms), f"{written.tokens:,} tokens"],
    }


def plain(text: str) -> str:
    """``text`` for a message that the page reads as markdown: shown as it is, never interpreted."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def _side(side: Side) -> dict[str, Any]:
    drawn: dict[str, Any] = {
        "method": side.method,
        "title": TITLES[side.method],
        "model": side.model,
        "problem": side.problem,
    }
    if (answer := side.prediction) is None:
        return drawn
    drawn |= {
        "label": answer.label,
        "word": word(answer.label),
        "bars": [
            {"word": word(label), "label": label, "p": round(p, 4), "percent": percent(p)}
            for label, p in answer.probabilities.items()
        ],
        "latency": milliseconds(answer.ms),
        "facts": [],
        "notes": list(answer.notes),
    }
    if isinstance(answer, FewShotPrediction):
        drawn |= {
            "facts": [*_tokens(answer), *_choices(side.settings)],
            "caption": "in prompt order" if answer.prompt else "the vote, nearest last",
            "examples": [_example(shown) for shown in answer.demonstrations],
            "prompt": answer.prompt,
        }
    return drawn


def _tokens(answer: FewShotPrediction) -> list[str]:
    """How much was read, and what it cost where it cost something."""
    if not answer.prompt:
        return []
    price = [f"${answer.dollars:.5f}"] if answer.dollars else []
    return [f"{answer.prompt_tokens:,} tokens", *price]


def _choices(settings: Settings) -> list[str]:
    """The settings that mattered: without examples, neither their number nor their order does."""
    words = [selector_words(settings.selector)[0]]
    if settings.selector != "zero":
        words.append(f"k = {settings.k}")
        if not SELECTORS[settings.selector].votes:
            words.append(order_words(settings.order)[0])
    return words


def _example(shown: Demonstration) -> dict[str, str]:
    cut = shown.text if len(shown.text) <= MAX_SHOWN else shown.text[:MAX_SHOWN] + " …"
    return {
        "label": shown.label,
        "word": word(shown.label),
        "text": cut,
        "similarity": "" if shown.similarity is None else f"{shown.similarity:.2f}",
    }


def percent(p: float) -> str:
    """A probability in percent. No model is certain, so none is shown as 0 or 100."""
    if p > 0.999:
        return "> 99.9 %"
    if p < 0.001:
        return "< 0.1 %"
    return f"{100 * p:.1f} %"


def share(p: float) -> str:
    """A share of what was counted, in percent; all of it may be 100."""
    return f"{100 * p:.1f} %"


def milliseconds(ms: float) -> str:
    """A duration at the precision that means something."""
    return f"{ms:.1f} ms" if ms < 10 else f"{ms:,.0f} ms" if ms < 10_000 else f"{ms / 1000:.1f} s"
