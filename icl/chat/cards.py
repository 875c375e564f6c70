"""From a reply to what the page draws: the verdict in one line, and the card's properties.

All wording and all formatting of numbers is here; public/elements/CompareCard.jsx only lays out.
Words are in the visitor's language, see icl/chat/language.py.
Properties are plain JSON and small: they travel with every answer.
"""

import re
from typing import Any

from clfcore.fine_tuned import FineTunedPrediction
from clfcore.types import NO_ANSWER, Prediction
from clfcore.wording import duration
from icl.answering import FewShotPrediction
from icl.chat.controls import value_words
from icl.chat.language import numeral, say
from icl.prompt.free_prompts import FREE_PROMPTS
from icl.prompt.template import Demonstration
from icl.selectors.table import SELECTORS
from icl.session.jobs import LABEL_WORDS, Completion, display_label
from icl.session.session import MethodResult, Reply
from icl.session.settings import Settings

TITLES = {"fine_tuned": "Fine-tuned", "few_shot": "Few-shot"}

MAX_EXAMPLE_CHARACTERS = 600


def method_title(method: str) -> str:
    """A method as a heading has it."""
    return say(TITLES[method])


def method_name(method: str) -> str:
    """A method within a sentence."""
    return say(TITLES[method].lower())


def translated_label(label: str | None) -> str:
    """A label as the page says it, ``None`` too; those of other tasks stay as the data has them."""
    if label is None:
        return say(NO_ANSWER)
    return say(LABEL_WORDS[label]) if label in LABEL_WORDS else display_label(label)


def verdict(reply: Reply) -> str:
    """The reply in one line of plain words: for screen readers, for copying, for the eye."""
    answers = {
        result.method: translated_label(result.label)
        for result in reply.results
        if result.label is not None
    }
    silent = [method_name(result.method) for result in reply.results if result.label is None]
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
    clauses = [
        say("{who} says {what}", who=method_name(who), what=what) for who, what in answers.items()
    ]
    return say("They disagree: {said}.", said=", ".join(clauses))


def compare_card(reply: Reply) -> dict[str, Any]:
    """The properties of the compare card, JSON-safe."""
    return {
        "sides": [_result(result) for result in reply.results],
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


def completion_card(completion: Completion, form_name: str, question: str) -> dict[str, Any]:
    """The properties of a free prompt's card, JSON-safe.

    Args:
        completion: what the language model wrote.
        form_name: a key of ``FREE_PROMPTS``.
        question: what was asked; of the form's own questions, the answer is known.
    """
    form = FREE_PROMPTS[form_name]
    right = form.is_right(question, completion.text)
    judgement = []
    if right is not None:
        answer = dict(form.questions)[question.strip()]
        judgement = [say("as hoped") if right else say("hoped for: {answer}", answer=answer)]
    return {
        "text": completion.text,
        "prompt": completion.prompt,
        "model": completion.model,
        "facts": [
            *judgement,
            milliseconds(completion.ms),
            tokens(completion.tokens),
            cost(completion.dollars),
        ],
        "words": {
            "completion": say("Completion"),
            "title": say("The continuation"),
            "nothing": say("(nothing)"),
            "facts": say("Time, length and price"),
            "prompt": say("Exact prompt"),
        },
    }


def escape_markdown(text: str) -> str:
    """``text`` for a message that the page reads as Markdown: shown as it is, never interpreted."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def _result(result: MethodResult) -> dict[str, Any]:
    props: dict[str, Any] = {
        "method": result.method,
        "title": method_title(result.method),
        "model": result.model,
        "problem": result.why_none,
    }
    if (prediction := result.prediction) is None:
        return props
    props |= {
        "label": prediction.label,
        "word": translated_label(prediction.label),
        "bars": [
            {
                "word": translated_label(label),
                "label": label,
                "p": round(p, 4),
                "percent": percent(p),
            }
            for label, p in prediction.probabilities.items()
            if prediction.label is not None
        ],
        "latency": milliseconds(prediction.ms),
        "facts": _facts(result.settings, prediction),
        "notes": [note for note in prediction.notes if note != result.why_none],
    }
    if isinstance(prediction, FewShotPrediction):
        vote = not prediction.prompt
        props |= {
            "caption": say("the vote, nearest last") if vote else say("in prompt order"),
            "examples": [_example(shown) for shown in prediction.demonstrations],
            "prompt": prediction.prompt,
        }
    return props


def _facts(settings: Settings, prediction: Prediction) -> list[str]:
    """How much was read, what it cost, and the relevant settings."""
    match prediction:
        case FewShotPrediction():
            read = [tokens(prediction.prompt_tokens)] if prediction.prompt else []
            return [*read, cost(prediction.dollars), *_relevant_settings(settings)]
        case FineTunedPrediction():
            return [tokens(prediction.tokens), cost(0.0)]
        case _:
            return [cost(0.0)]


def _relevant_settings(settings: Settings) -> list[str]:
    """Without examples, neither their number nor their order is relevant."""
    words = [value_words("selector", settings.selector)[0]]
    if settings.selector != "zero":
        words.append(f"k = {settings.k}")
        if not SELECTORS[settings.selector].votes:
            words.append(value_words("order", settings.order)[0])
    return words


def _example(shown: Demonstration) -> dict[str, str]:
    cut = (
        shown.text
        if len(shown.text) <= MAX_EXAMPLE_CHARACTERS
        else shown.text[:MAX_EXAMPLE_CHARACTERS] + " …"
    )
    return {
        "label": shown.label,
        "word": translated_label(shown.label),
        "text": cut,
        "similarity": "" if shown.similarity is None else numeral(f"{shown.similarity:.2f}"),
    }


def time_left(seconds: float | None) -> list[str]:
    """A sentence on how long something will take; none while that is unknown."""
    return (
        []
        if seconds is None
        else [say("About {duration} left.", duration=numeral(duration(seconds)))]
    )


def tokens(count: int) -> str:
    """The length of a prompt."""
    return say("{count} tokens", count=numeral(f"{count:,}"))


def cost(dollars: float | None) -> str:
    """A price; models on this machine have none, that of some others is unknown."""
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
