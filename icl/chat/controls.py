"""What a visitor can choose: pickers in the composer for what changes often, a panel for the rest.

Their ids are the fields of ``Settings``.
"""

from collections.abc import Mapping, Sequence

import chainlit as cl
from chainlit.input_widget import Select

from icl.chat.language import say
from icl.prompt.free_prompts import FREE_PROMPTS
from icl.selectors.table import SELECTORS
from icl.session.settings import CHOICES, NOTHING_CHOSEN, PAGE_SETTINGS, Settings

K_CHOICES = (1, 2, 4, 6, 8, 16)

# Picker names: short enough for a phone, clear without a heading. A new entry of a registry shows
# up under its own name until it gets words here, and so does a new setting, in the panel.
ORDER_WORDS = {
    "similar_last": ("Similar last", "The most similar example next to your message"),
    "similar_first": ("Similar first", "The most similar example at the top"),
    "interleave": ("Interleaved", "Labels alternate"),
    "easy_to_hard": ("Easy to hard", "Short examples before long ones"),
    "random": ("Random order", "Shuffled: shows how much the order matters"),
    "as_given": ("As ranked", "The selector's own order"),
}

FORM_WORDS = {
    "translation": ("Translation", "German to English"),
    "review_sentiment": ("Review sentiment", "Positive or negative"),
    "function_composition": ("Function composition", "f and g from examples, then f of g"),
}
BALANCE_WORDS = {
    "equal": "as many of each label",
    "none": "whatever is most similar",
    "proportional": "as in the pool",
    "at_least_one": "at least one of each label",
}
TASK_WORDS = {
    "sms_spam": "Spam or not (SMS)",
    "sst2": "Film reviews, two labels (SST-2)",
    "sst5": "Film reviews, five labels (SST-5)",
    "ag_news": "News topics (AG News)",
    "snli": "Does it follow? (SNLI)",
    "commonsense_qa": "Common sense questions",
    "trec": "What a question asks for (TREC)",
    "banking77": "Bank customers' requests (Banking77)",
    "emotion": "Emotions",
}


# Setting -> what its picker is called, and the title and description of each value.
PICKERS: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "selector": (
        "Selector",
        {name: (each.title, each.description) for name, each in SELECTORS.items()},
    ),
    "k": ("Examples", {}),
    "order": ("Order", ORDER_WORDS),
}
# Setting -> what it is called in the panel, and its values; a session's models have their names.
PANEL: dict[str, tuple[str, dict[str, str]]] = {
    "task": ("Task", TASK_WORDS),
    "balance": ("Balance of the examples", BALANCE_WORDS),
    "lm": ("Language model", {}),
    "checkpoint": ("Fine-tuned model", {}),
}
PANEL |= {name: (name, {}) for name in PAGE_SETTINGS if name not in {*PICKERS, *PANEL}}


def value_words(setting: str, value: str) -> tuple[str, str]:
    """Title and description of a value of one of ``PICKERS``."""
    if setting == "k":
        return f"k = {value}", say("one example") if value == "1" else say("{k} examples", k=value)
    return _translated(PICKERS[setting][1], value)


def _translated(words: Mapping[str, tuple[str, str]], name: str) -> tuple[str, str]:
    title, description = words.get(name, (name, ""))
    return say(title), say(description)


def panel(
    offers: Mapping[str, Sequence[str]],
    chosen: Mapping[str, str] | None = None,
    usual: Settings = NOTHING_CHOSEN,
) -> list[Select]:
    """The settings panel; what has only one value is not in it.

    Args:
        offers: of the session: the models.
        chosen: what this chat has chosen so far.
        usual: what is not chosen.
    """
    values = {**CHOICES, **offers}
    defaults = {
        **{name: names[0] for name, names in offers.items()},
        **{name: getattr(usual, name) for name in CHOICES},
        **(chosen or {}),
    }
    return [
        Select(
            id=setting,
            label=say(title),
            items={say(words.get(name, name)): name for name in values[setting]},
            initial_value=defaults[setting],
        )
        for setting, (title, words) in PANEL.items()
        if len(values.get(setting, ())) > 1
    ]


def form_pickers() -> list[cl.Mode]:
    """The picker of the free prompts."""
    words = {name: _translated(FORM_WORDS, name) for name in FREE_PROMPTS}
    return [_picker("form", say("Prompt"), words, next(iter(words)))]


def pickers(usual: Settings = NOTHING_CHOSEN) -> list[cl.Mode]:
    """The pickers, set to the ``usual`` settings."""
    names = {**CHOICES, "k": [str(k) for k in sorted({*K_CHOICES, usual.k})]}
    return [
        _picker(
            setting,
            say(title),
            {name: value_words(setting, name) for name in names[setting]},
            str(getattr(usual, setting)),
        )
        for setting, (title, _) in PICKERS.items()
    ]


def _picker(
    setting: str, title: str, words: Mapping[str, tuple[str, str]], default: str
) -> cl.Mode:
    options = [
        cl.ModeOption(id=id, name=name, description=description, default=id == default)
        for id, (name, description) in words.items()
    ]
    return cl.Mode(id=setting, name=title, options=options)
