"""``python -m icl.chat``: starts the page."""

from typing import Annotated

import typer

from clfcore.cli.terminal import new_app, run_app, with_examples
from icl.chat.serve import serve

app = new_app("Chat with a fine-tuned model and a few-shot prompt, side by side.", version=False)


@app.command()
@with_examples("", "--port 8010", "--headless")
def chat(
    port: Annotated[
        int, typer.Option(help="On this machine.", min=1, max=65535, rich_help_panel="Page")
    ] = 8000,
    headless: Annotated[
        bool, typer.Option("--headless", help="Open no browser.", rich_help_panel="Page")
    ] = False,
) -> None:
    """Open the page, on this machine alone, until Ctrl+C."""
    serve(port, headless)


if __name__ == "__main__":
    run_app(app)
