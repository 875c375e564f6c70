"""What Chainlit 2.12.0 needs for a class without a network. Imported first, once, by chat_app.py.

Each file here is one workaround; tests/icl/chat/test_chat_app.py and tests/browser say when one is
no longer needed.
"""

import os

from clfcore.wording import make_logs_printable
from icl.chat.login import install as login
from icl.chat.patches import (
    events,
    faults,
    feedback,
    languages,
    offline,
    resend,
    routes,
    session_ids,
    shared_config,
)
from icl.chat.store import storage

# Chats are stored where there is a login and nowhere else, whatever DATABASE_URL or
# LITERAL_API_KEY stand for on this machine. And no chat bot is started with tokens that are meant
# for another program.
for _name in ("DISCORD_BOT_TOKEN", "SLACK_BOT_TOKEN"):
    os.environ.pop(_name, None)

make_logs_printable()  # also where ``chainlit run`` has started it
for _part in (
    *(offline, shared_config, login, storage, feedback),
    *(session_ids, resend, languages, events, faults, routes),
):
    _part.install()
