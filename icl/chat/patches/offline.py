"""The page paints with the network cable out.

Its stylesheets at Google and jsDelivr block rendering until they time out.
"""

import re

import chainlit.server as server

_OUTSIDE_LINK = re.compile(r"<link[^>]+https?://[^>]*>")


def install() -> None:
    """Removes from Chainlit's page what another machine would have to send."""
    html = server.get_html_template
    server.get_html_template = lambda root_path: _OUTSIDE_LINK.sub("", html(root_path))
