"""Modules that take seconds to import: imported when a test first uses them, not to collect it."""

import atexit
import importlib
import os
import shutil
from functools import cache

from icl.chat.serve import scratch_root


class _LazyModule:
    """Stands for a module; what pytest asks of everything in a test file imports nothing.

    To replace an attribute, give ``monkeypatch`` the whole name as a string.
    """

    def __init__(self, name):
        self._name = name

    def __getattr__(self, attribute):
        if attribute.startswith(("__", "_mock", "_pytest", "pytest")):
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)


def lazy(name):
    """The module ``name``, imported when one of its attributes is first used."""
    if name.startswith(("chat_app", "chainlit", "icl.chat")):
        _give_chainlit_a_folder()
    return _LazyModule(name)


@cache
def _give_chainlit_a_folder():
    """It writes into one when it is imported; this one is removed at the end."""
    os.environ["CHAINLIT_APP_ROOT"] = str(scratch_root())
    atexit.register(shutil.rmtree, os.environ["CHAINLIT_APP_ROOT"], ignore_errors=True)
