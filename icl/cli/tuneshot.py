"""``tuneshot``: both methods, compared on one data set, or served for a class by one process.

The page and its models are imported inside the commands, so that ``--help`` answers at once.
"""

import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from clfcore.cli.terminal import Data, new_app, run_app
from clfcore.errors import TuneshotError

DEFAULT_METHODS = (
    "fine_tuned,fine_tuned_all,few_shot_topk,few_shot_votek_pool,knn,tfidf,zero,majority"
)
SHUTDOWN_SECONDS = 5  # open pages are let go after this long when the server stops

app = new_app("Two ways to teach a language model one task, compared, or for a class.")


votes = new_app("What people said is right.", version=False)
app.add_typer(votes, name="votes")


@votes.command()
def export(
    out: Annotated[Path, typer.Argument(help="A new file, ending in .tsv.")],
    task: Annotated[str, typer.Option(help="Whose votes.")] = "sms_spam",
) -> None:
    """Write what people agree on as labelled messages, for clf train --data and icl --pool."""
    from icl.session.votes import export as write

    found = write(None, out, task)
    ties = f"; {found.ties} tied, left out" if found.ties else ""
    typer.echo(f"{out}: {len(found.examples)} labelled messages{ties}")


@app.command()
def compare(
    data: Data = None,
    methods: Annotated[
        str, typer.Option(help="Names, separated by commas; see --list.")
    ] = DEFAULT_METHODS,
    budgets: Annotated[
        str, typer.Option(help="Numbers of labelled messages, separated by commas; all: the pool.")
    ] = "8,16,64,256,1024,all",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each method and budget.")] = 3,
    test_size: Annotated[int, typer.Option(min=1, help="Messages to ask about, at most.")] = 200,
    balanced: Annotated[
        bool, typer.Option(help="Ask about as many of each label, or the data's own shares.")
    ] = False,
    also: Annotated[
        str | None, typer.Option(help="Another corpus, as --data: who does well there, too?")
    ] = None,
    task: Annotated[
        str, typer.Option(help="Whose prompt format, see icl tasks; default: by the labels.")
    ] = "",
    base: Annotated[str, typer.Option(help="What is fine-tuned, as clf train.")] = "gpt2-mini",
    lm: Annotated[
        str, typer.Option(help="What is shown examples, as icl --lm.")
    ] = "bf16:SmolLM2-135M-Instruct",
    same_model: Annotated[
        bool, typer.Option("--same-model", help="Fine-tune the language model of --lm.")
    ] = False,
    k: Annotated[int, typer.Option("-k", min=1, help="How many examples are shown.")] = 4,
    metric: Annotated[str, typer.Option(help="What decides who is better.")] = "balanced_accuracy",
    robust: Annotated[
        bool, typer.Option(help="Also ask in other words and orders, and weigh each method.")
    ] = True,
    split_seed: Annotated[int, typer.Option(min=0, help="Which messages are asked about.")] = 0,
    out: Annotated[
        Path, typer.Option(help="Folder of records, summary.json, table.md and report.html.")
    ] = Path("runs/compare"),
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Cells at a time; default: one a core, at most 4.")
    ] = None,
    ray: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster to spread the cells over.")
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="Show the methods.")] = False,
) -> None:
    """Find out from how many labelled messages on fine-tuning beats prompting, on your data.

    A killed comparison continues where it was when it is started again.
    """
    from icl.cli import compare as compare_command

    if only_list:
        compare_command.show_methods()
        return
    compare_command.compare(
        data=data, methods=methods, budgets=budgets, seeds=seeds, test_size=test_size,
        balanced=balanced, also=also, task=task, base=base, lm=lm, same_model=same_model, k=k,
        metric=metric, robust=robust, split_seed=split_seed, out=out, jobs=jobs, ray=ray,
    )  # fmt: skip


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="At this address.", min=1, max=65535)] = 8000,
    root_path: Annotated[
        str, typer.Option(help="Path under which a proxy shows the server, e.g. /tuneshot.")
    ] = "",
) -> None:
    """Serve page, API, health checks and figures until Ctrl+C."""
    with _listen(host, port) as listening:
        from icl.chat.serve import application

        page = application(root_path)  # first of all, as it cleans the environment
        if not _is_loopback(host):
            _require_login_and_token(host)

        import uvicorn

        config = uvicorn.Config(
            page,
            root_path=root_path,
            lifespan="on",
            log_level="warning",
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        sys.stderr.write(f"Tuneshot: http://{host}:{port}{root_path} (Ctrl+C stops it)\n")
        server = uvicorn.Server(config)
        server.run([listening])
    if not server.started:
        raise TuneshotError("the server could not start; the lines above say why")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
        # Small packets at once; asyncio sets it only on sockets that it opened itself.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]  # it repeats the address
        raise TuneshotError(
            f"cannot listen at {host}, port {port} ({reason}); is another server running? "
            f"choose another port: --port {port % 65535 + 1}"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _require_login_and_token(host: str) -> None:
    from icl.chat import login

    if not login.configured():
        raise TuneshotError(
            f"{host} can be reached from other machines, and nobody has to log in; set "
            "TUNESHOT_CODES_FILE to a file with a name and a code on each line, or serve at "
            "127.0.0.1 behind a proxy"
        )
    if not os.environ.get("TUNESHOT_API_TOKEN"):
        raise TuneshotError(
            f"{host} can be reached from other machines, and /api/classify answers everybody; "
            "set TUNESHOT_API_TOKEN to a long random word"
        )


def main() -> None:
    """The console script."""
    run_app(app)
