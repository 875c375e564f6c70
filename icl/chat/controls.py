"""What a visitor can choose: pickers in the composer for what changes often, a panel for the rest.

Their ids are the fields of ``Settings``.
"""

from collections.abc import Callable, Mapping, Sequence

import chainlit as cl
from chainlit.input_widget import Select

from icl.chat.language import say
from icl.prompt.free_prompts import FREE_PROMPTS
from icl.prompt.tasks import TASKS
from icl.selectors.arrange import ARRANGEMENTS, BALANCES
from icl.selectors.table import SELECTORS
from icl.session.settings import CHAT_SELECTORS, Settings

K_CHOICES = (1, 2, 4, 6, 8, 16)

# Picker names: short enough for a phone, clear without a heading. A new entry of a registry shows
# up under its own name until it gets words here.
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


def selector_words(name: str) -> tuple[str, str]:
    """Title and description of a selector."""
    selector = SELECTORS[name]
    return say(selector.title), say(selector.description)


def order_words(name: str) -> tuple[str, str]:
    """Title and description of an order."""
    return _translated(ORDER_WORDS, name)


def k_words(k: str) -> tuple[str, str]:
    """Title and description of a number of examples."""
    return f"k = {k}", say("one example") if k == "1" else say("{k} examples", k=k)


def form_words(name: str) -> tuple[str, str]:
    """Title and description of a free prompt."""
    return _translated(FORM_WORDS, name)


def _translated(words: Mapping[str, tuple[str, str]], name: str) -> tuple[str, str]:
    title, description = words.get(name, (name, ""))
    return say(title), say(description)


def panel(
    offers: Mapping[str, Sequence[str]], chosen: Mapping[str, str] | None = None
) -> list[Select]:
    """The settings panel.

    Args:
        offers: of the session: the models.
        chosen: what this chat has chosen so far; the rest is the default of ``Settings``.
    """
    chosen, default = chosen or {}, Settings()
    return [
        _select(
            "task",
            say("Task"),
            {say(TASK_WORDS.get(name, name)): name for name in TASKS},
            chosen.get("task", default.task),
        ),
        _select(
            "balance",
            say("Balance of the examples"),
            {say(BALANCE_WORDS.get(name, name)): name for name in BALANCES},
            chosen.get("balance", default.balance),
        ),
        *(
            _select(
                field,
                title,
                {name: name for name in offers[field]},
                chosen.get(field, offers[field][0]),
            )
            for field, title in (
                ("lm", say("Language model")),
                ("checkpoint", say("Fine-tuned model")),
            )
            if len(offers.get(field, ())) > 1
        ),
    ]


def _select(field: str, title: str, items: dict[str, str], default: str) -> Select:
    return Select(id=field, label=title, items=items, initial_value=default)


def form_pickers() -> list[cl.Mode]:
    """The picker of the free prompts."""
    names = list(FREE_PROMPTS)
    return [_picker("form", say("Prompt"), names, form_words, names[0])]


def pickers() -> list[cl.Mode]:
    """The pickers, set to the defaults of ``Settings``."""
    default = Settings()
    return [
        _picker(
            "selector", say("Selector"), list(CHAT_SELECTORS), selector_words, default.selector
        ),
        _picker("k", say("Examples"), [str(k) for k in K_CHOICES], k_words, str(default.k)),
        _picker("order", say("Order"), list(ARRANGEMENTS), order_words, default.order),
    ]


def _picker(
    field: str, name: str, ids: list[str], words: Callable[[str], tuple[str, str]], default: str
) -> cl.Mode:
    options = []
    for id in ids:
        title, description = words(id)
        options.append(
            cl.ModeOption(id=id, name=title, description=description, default=id == default)
        )
    return cl.Mode(id=field, name=name, options=options)
