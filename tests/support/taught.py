"""A tiny classifier that was trained on toy messages, and a message to teach it."""

from clfcore.data.messages import LabelledMessages
from clfcore.data.split import content_hash
from clfcore.fine_tuned import FineTuned
from clfcore.types import Example
from tests.support.tiny import tiny_classifier

HAM = [f"see you at {i} for tea" for i in range(60)]
SPAM = [f"win prize {i} now" for i in range(20)]
SOURCE = LabelledMessages(
    [*(Example(t, "ham") for t in HAM), *(Example(t, "spam") for t in SPAM)], "toys"
)
TAUGHT = [Example("your table for two is confirmed", "spam")]
ABOUT = {"data": {"sha256": content_hash(SOURCE.examples), "split_seed": 0}}


def toy_classifier(**meta) -> FineTuned:
    """One that says it was trained on ``SOURCE``."""
    return tiny_classifier(**{"about": ABOUT, **meta})
