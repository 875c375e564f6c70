"""The report of a comparison: one HTML file that needs nothing else, not even a network.

Data flows one way: the summary is read (findings.py), judged (verdict.py) and put into words
(sentences.py), drawn (figures.py, crossover.py) and tabulated (tables.py, answer_tables.py), and
assets/report.html says where all of it stands. Jinja escapes what it is given; what it is not to
escape is made here, in four places marked ``Markup``.
"""

import base64
import gzip
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from clfcore.errors import TuneshotError, missing_extra_explained
from clfcore.evaluation.metrics import METRICS
from clfcore.json_text import to_json
from clfcore.paths import atomic_write
from clfcore.types import NO_ANSWER
from clfcore.wording import duration
from icl.figures.look import Drawing, drawing_json
from icl.report import answer_tables as report_answer_tables
from icl.report import figures as report_figures
from icl.report import findings as words
from icl.report import tables as report_tables
from icl.report.crossover import crossings, crossover
from icl.report.findings import Findings
from icl.report.sentences import say
from icl.report.verdict import verdicts

with missing_extra_explained("a report"):
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

SUMMARY = "summary.json"

_PAGE = Path(__file__).with_name("assets")


def write_report(summary: Mapping[str, Any], path: Path) -> None:
    """Writes the report as one HTML file of about two megabytes.

    Args:
        summary: what ``tuneshot compare`` has found, see there; may lack every optional part.
        path: of the file; an older one stays until the new one is complete.

    Raises:
        TuneshotError: the disk is full, or the place cannot be written.
    """
    with atomic_write(path) as new:
        new.write_bytes(report_page(summary))


def report_page(summary: Mapping[str, Any]) -> bytes:
    """The report as the bytes of an HTML file."""
    findings = Findings(summary)
    costs = report_figures.costs(findings)
    figures = {"crossover": crossover(findings)}
    figures |= {f"cost {n}": report_figures.cost_figure(findings, c) for n, c in enumerate(costs)}
    if sure := report_figures.coverage(findings):
        figures["coverage"] = sure
    curves = report_figures.reliability(findings)
    figures |= {f"reliability {key}": drawing for key, drawing in curves.items()}

    plotly = get_plotlyjs()
    # A third of the size; the page unpacks it. No time in it: same script, same text.
    packed = base64.b64encode(gzip.compress(plotly.encode(), 9, mtime=0)).decode()
    script = _asset("report.js")
    environment = Environment(
        loader=FileSystemLoader(_PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "capital": words.capital,
        "count": words.count,
        "duration": duration,
        "moment": words.moment,
        "number": words.number,
        "share": METRICS["accuracy"].show,
        "signed": lambda value: f"{value:+.2f}".replace("-", "−"),
        "pretty": lambda value: to_json(value, indent=2, ensure_ascii=False),
    }
    page = environment.get_template("report.html").render(
        findings=findings,
        verdict=say(findings, verdicts(findings)),
        summary=findings.summary,
        look=report_figures.styles(findings),
        costs=costs,
        figures=figures,
        curves=curves,
        crossings=crossings(findings),
        tables=report_tables,
        answer_tables=report_answer_tables,
        ece=METRICS["ece"],
        no_answer=NO_ANSWER,
        policy=_policy(plotly, script),
        style=Markup(_asset("report.css")),
        script=Markup(script),
        plotly=Markup(packed),
        island=Markup(_island(figures)),
    )
    # A message may hold half a surrogate pair, which is no UTF-8.
    return page.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def reports_folder() -> Path:
    """Where comparisons lie: ``$TUNESHOT_REPORTS``, or ``runs``."""
    return Path(os.environ.get("TUNESHOT_REPORTS") or "runs")


def latest(folder: Path) -> Path | None:
    """The newest comparison's summary.json: in ``folder`` itself or one level below it."""

    def written(path: Path) -> float:
        try:
            return path.stat().st_mtime
        except OSError:  # removed in this moment
            return 0.0

    summaries = [*folder.glob(SUMMARY), *folder.glob(f"*/{SUMMARY}")]
    return max(filter(_is_comparison, summaries), key=written, default=None)


def _is_comparison(path: Path) -> bool:
    """Other programs have files of this name, too."""
    try:
        Findings.read(path)
    except TuneshotError:
        return False
    return True


# --- the page -------------------------------------------------------------------------------------


def _policy(*scripts: str) -> str:
    """A content security policy that runs these scripts and asks nobody for anything."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(d).decode()}'" for d in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _island(figures: Mapping[str, Drawing]) -> str:
    """JSON for a script element: without ``<``, nothing in it can end the element."""
    content = {name: json.loads(drawing_json(drawing)) for name, drawing in figures.items()}
    return to_json(content, separators=(",", ":")).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")
