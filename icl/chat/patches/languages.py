"""German or English: Chainlit has 20 other languages, but not for our part of the page.

And it gives a browser in Vienna (de-AT) English.
"""

import chainlit.server as server
from chainlit.config import ChainlitConfig

from icl.chat.language import page_language


def install() -> None:
    """Lets Chainlit's own words and its guide follow the page's language."""
    translation, guide = ChainlitConfig.load_translation, server.get_markdown_str
    ChainlitConfig.load_translation = lambda self, code: translation(self, page_language(code))
    server.get_markdown_str = lambda root, code: guide(root, page_language(code))
