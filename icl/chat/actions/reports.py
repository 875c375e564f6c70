"""The latest comparison in the chat: its answer, its two main figures, and the report as a file."""

import asyncio

import chainlit as cl

from clfcore.errors import TuneshotError
from icl.chat.conversation import paragraphs, show
from icl.chat.language import numeral, say
from icl.figures.look import Drawing
from icl.report.crossover import crossover
from icl.report.figures import cost_figure, costs
from icl.report.findings import Findings
from icl.report.page import latest, report_page, reports_folder
from icl.report.sentences import say as say_verdict
from icl.report.verdict import verdicts

FILE_NAME = "report.html"


async def send_report() -> None:
    """Sends the newest comparison of the reports' folder.

    The file goes the way of every file of the page: to this session only, which may need a login.

    Raises:
        TuneshotError: there is none, or it cannot be read.
    """
    findings, pictures, page = await asyncio.to_thread(_draw)
    data = findings.summary["data"]
    about = say(
        "The latest comparison: {source}, {test} test messages, {when}.",
        source=data["source"],
        test=numeral(f"{data['test']:,}"),
        when=findings.summary["created"][:10],
    )
    said = say_verdict(findings, verdicts(findings))
    lines = [line for line in (said.headline, said.sides) if line]
    for name, drawing in pictures.items():
        await show(drawing, name, *lines)
        lines = []
    about += " " + say("The file has all tables and tests; it contains messages of the data.")
    file = cl.File(name=FILE_NAME, content=page, mime="text/html", display="inline")
    await cl.Message(content=paragraphs(about), elements=[file]).send()


def _draw() -> tuple[Findings, dict[str, Drawing], bytes]:
    """The newest comparison: its findings, figures by name, and the report's HTML."""
    folder = reports_folder()
    path = latest(folder)
    if path is None:
        raise TuneshotError(
            f"there is no comparison in {folder} yet; make one: tuneshot compare --out "
            f"{folder / 'compare'}"
        )
    findings = Findings.read(path)
    pictures = {"crossover": crossover(findings)}
    if figures := costs(findings):
        pictures["cost"] = cost_figure(findings, figures[0])
    return findings, pictures, report_page(findings.summary)
