"""``python -m icl.chat``: starts the page."""

from typing import Annotated

import typer

from clfcore.cli.terminal import new_app, run_app
from icl.chat.serve import serve

app = new_app("Chat with a fine-tuned model and a few-shot prompt, side by side.", version=False)


@app.command()
def chat(
    port: Annotated[int, typer.Option(help="On this machine.", min=1, max=65535)] = 8000,
    headless: Annotated[bool, typer.Option("--headless", help="Open no browser.")] = False,
) -> None:
    """Serve the page until Ctrl+C."""
    serve(port, headless)


if __name__ == "__main__":
    run_app(app)
