"""The page's language: German where the browser prefers it, English everywhere else.

English words stand where they are used; ``say`` finds the German ones in icl/chat/german.py.
Chainlit's own words are in .chainlit/translations/, the guides in chainlit.md and
chainlit_de-DE.md, and public/tuneshot.js tells the browser which of the two it got.
"""

from chainlit.context import context_var

from icl.chat.german import TRANSLATIONS

ENGLISH, GERMAN = "en-US", "de-DE"

_SWAP_POINT_AND_COMMA = str.maketrans(".,", ",.")


def page_language(browser_language: str | None) -> str:
    """The page's language for a browser's: ``de-AT`` gets German, ``fr`` gets English."""
    return GERMAN if (browser_language or "").lower().split("-")[0] == "de" else ENGLISH


def visitor_language() -> str:
    """The current visitor's language; English where there is none."""
    context = context_var.get(None)
    return page_language(getattr(context and context.session, "language", None))


def say(english: str, /, language: str | None = None, **values: object) -> str:
    """Words of the page in its language.

    Args:
        english: the words, with a ``{name}`` for each value.
        language: by default, the visitor's.
        values: what the names stand for.
    """
    german = (language or visitor_language()) == GERMAN
    words = TRANSLATIONS.get(english, english) if german else english
    return words.format(**values) if values else words


def numeral(number: str) -> str:
    """A number, written in English, in the page's language: ``1,234.5`` or ``1.234,5``."""
    return number.translate(_SWAP_POINT_AND_COMMA) if visitor_language() == GERMAN else number
