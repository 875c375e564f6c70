"""The latest comparison in the chat: its answer, its two main figures, and the report as a file."""

import asyncio
from dataclasses import dataclass

import chainlit as cl

from clfcore.errors import TuneshotError
from icl.chat.cards import plain
from icl.chat.conversation import show
from icl.chat.language import numeral, say
from icl.figures.look import Drawing
from icl.report.crossover import crossover
from icl.report.figures import cost_figure, costs
from icl.report.findings import Findings
from icl.report.page import latest, report_page, reports_folder

NAME = "report.html"


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is sent of a comparison.

    Attributes:
        findings: all of it.
        pictures: name -> figure.
        page: the report's HTML.
    """

    findings: Findings
    pictures: dict[str, Drawing]
    page: bytes


async def send_report() -> None:
    """Sends the newest comparison of the reports' folder.

    The file goes the way of every file of the page: to this session only, which may need a login.

    Raises:
        TuneshotError: there is none, or it cannot be read.
    """
    drawn = await asyncio.to_thread(_draw)
    data = drawn.findings.summary["data"]
    about = say(
        "The latest comparison: {source}, {test} test messages, {when}.",
        source=data["source"],
        test=numeral(f"{data['test']:,}"),
        when=drawn.findings.summary["created"][:10],
    )
    lines = [drawn.findings.answer()]
    for name, drawing in drawn.pictures.items():
        await show(drawing, name, *lines)
        lines = []
    about += " " + say("The file has all tables and tests; it contains messages of the data.")
    file = cl.File(name=NAME, content=drawn.page, mime="text/html", display="inline")
    await cl.Message(content=plain(about), elements=[file]).send()


def _draw() -> Drawn:
    folder = reports_folder()
    path = latest(folder)
    if path is None:
        raise TuneshotError(
            f"there is no comparison in {folder} yet; make one: tuneshot compare --out "
            f"{folder / 'compare'}"
        )
    findings = Findings.read(path)
    pictures = {"crossover": crossover(findings)}
    if known := costs(findings):
        pictures["cost"] = cost_figure(findings, known[0])
    return Drawn(findings, pictures, report_page(findings.summary))
