"""The page paints with the network cable out.

Its stylesheets at Google and jsDelivr block rendering until they time out.
"""

import re

import chainlit.server as server


def install() -> None:
    """Removes from Chainlit's page what another machine would have to send."""
    html = server.get_html_template
    server.get_html_template = lambda root_path: re.sub(
        r"<link[^>]+https?://[^>]*>", "", html(root_path)
    )
