"""From a reply to what the page draws: the verdict in one line, and the card's properties.

All wording and all formatting of numbers is here; public/elements/CompareCard.jsx only lays out.
Words are in the visitor's language, see icl/chat/language.py.
Properties are plain JSON and small: they travel with every answer.
"""

import re
from typing import Any

from clfcore.fine_tuned import FineTunedPrediction
from clfcore.types import Prediction
from icl.chat.actions.controls import order_words, selector_words
from icl.chat.language import numeral, say
from icl.few_shot import FewShotPrediction
from icl.prompt.free_form import FREE_FORM
from icl.prompt.prompt import Demonstration
from icl.selectors.table import SELECTORS
from icl.session.jobs import WORDS, Completion, word
from icl.session.session import Reply, Side
from icl.session.settings import Settings

TITLES = {"fine_tuned": "Fine-tuned", "few_shot": "Few-shot"}

MAX_SHOWN = 600  # characters of one example


def method_title(method: str) -> str:
    """A method as a heading has it."""
    return say(TITLES[method])


def method_name(method: str) -> str:
    """A method within a sentence."""
    return say(TITLES[method].lower())


def label_word(label: str) -> str:
    """A label as the page says it; those of other tasks stay as the data has them."""
    return say(WORDS[label]) if label in WORDS else word(label)


def verdict(reply: Reply) -> str:
    """The reply in one line of plain words: for screen readers, for copying, for the eye."""
    answers = {s.method: label_word(s.prediction.label) for s in reply.sides if s.prediction}
    silent = [method_name(side.method) for side in reply.sides if not side.prediction]
    if not answers:
        return say("No answer: the card says why.")
    first, what = next(iter(answers.items()))
    if silent:
        return say(
            "{who} says {what}; {other} has no answer.",
            who=method_title(first),
            what=what,
            other=", ".join(silent),
        )
    if len(answers) == 1:
        return say("{who} says {what}.", who=method_title(first), what=what)
    if len(set(reply.labels)) == 1:
        return say("Both say {what}.", what=what)
    said = [
        say("{who} says {what}", who=method_name(who), what=what) for who, what in answers.items()
    ]
    return say("They disagree: {said}.", said=", ".join(said))


def card(reply: Reply) -> dict[str, Any]:
    """The properties of the compare card, JSON-safe."""
    return {
        "sides": [_side(side) for side in reply.sides],
        "words": {
            "bars": say("Probabilities"),
            "facts": say("Time, price and settings"),
            "made_of": say("What the few-shot answer was made of"),
            "examples": say("Examples"),
            "no_examples": say("No examples were shown."),
            "similarity": say("similarity"),
            "cosine": say("Cosine similarity to your message"),
            "prompt": say("Exact prompt"),
            "no_prompt": say("No language model was asked: the examples voted."),
        },
    }


def completion_card(written: Completion, form: str, question: str) -> dict[str, Any]:
    """The properties of a free prompt's card, JSON-safe.

    Args:
        written: what the language model wrote.
        form: a key of ``FREE_FORM``.
        question: what it was to go on with; of those it comes with, the answer is known.
    """
    asked = FREE_FORM[form]
    right = asked.is_right(question, written.text)
    judged = []
    if right is not None:
        hoped = dict(asked.questions)[question.strip()]
        judged = [say("as hoped") if right else say("hoped for: {answer}", answer=hoped)]
    return {
        "text": written.text,
        "prompt": written.prompt,
        "model": written.model,
        "facts": [
            *judged,
            milliseconds(written.ms),
            tokens(written.tokens),
            cost(written.dollars),
        ],
        "words": {
            "completion": say("Completion"),
            "title": say("It goes on"),
            "nothing": say("(nothing)"),
            "facts": say("Time, length and price"),
            "prompt": say("Exact prompt"),
        },
    }


def plain(text: str) -> str:
    """``text`` for a message that the page reads as markdown: shown as it is, never interpreted."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def _side(side: Side) -> dict[str, Any]:
    drawn: dict[str, Any] = {
        "method": side.method,
        "title": method_title(side.method),
        "model": side.model,
        "problem": side.problem,
    }
    if (answer := side.prediction) is None:
        return drawn
    drawn |= {
        "label": answer.label,
        "word": label_word(answer.label),
        "bars": [
            {"word": label_word(label), "label": label, "p": round(p, 4), "percent": percent(p)}
            for label, p in answer.probabilities.items()
        ],
        "latency": milliseconds(answer.ms),
        "facts": _facts(side.settings, answer),
        "notes": list(answer.notes),
    }
    if isinstance(answer, FewShotPrediction):
        drawn |= {
            "caption": say("in prompt order") if answer.prompt else say("the vote, nearest last"),
            "examples": [_example(shown) for shown in answer.demonstrations],
            "prompt": answer.prompt,
        }
    return drawn


def _facts(settings: Settings, answer: Prediction) -> list[str]:
    """How much was read, what it cost, and the settings that mattered."""
    match answer:
        case FewShotPrediction():
            read = [tokens(answer.prompt_tokens)] if answer.prompt else []
            return [*read, cost(answer.dollars), *_choices(settings)]
        case FineTunedPrediction():
            return [tokens(answer.tokens), cost(0.0)]
        case _:
            return [cost(0.0)]


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
        "word": label_word(shown.label),
        "text": cut,
        "similarity": "" if shown.similarity is None else numeral(f"{shown.similarity:.2f}"),
    }


def tokens(count: int) -> str:
    """The length of a prompt."""
    return say("{count} tokens", count=numeral(f"{count:,}"))


def cost(dollars: float | None) -> str:
    """A price; models on this machine have none, of some others nobody knows it."""
    if dollars is None:
        return say("price unknown")
    if dollars == 0:
        return say("free")
    return numeral("< $0.00001" if dollars < 0.00001 else f"${dollars:.5f}")


def percent(p: float) -> str:
    """A probability in percent. No model is certain, so none is shown as 0 or 100."""
    if p > 0.999:
        return numeral("> 99.9 %")
    if p < 0.001:
        return numeral("< 0.1 %")
    return share(p)


def share(p: float) -> str:
    """A share of what was counted, in percent; all of it may be 100."""
    return numeral(f"{100 * p:.1f} %")


def milliseconds(ms: float) -> str:
    """A duration at the precision that means something."""
    return numeral(
        f"{ms:.1f} ms" if ms < 10 else f"{ms:,.0f} ms" if ms < 10_000 else f"{ms / 1000:.1f} s"
    )
