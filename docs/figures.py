"""Writes the figures of README.md from the records, so that none is typed by hand.

    python docs/figures.py [--check]

With ``--check`` nothing is written; the exit status is 1 if the README is out of date.
"""

import json
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
START, END = "<!-- figures -->\n", "<!-- /figures -->"


def records(name: str) -> list[dict[str, Any]]:
    """The JSON objects of ``docs/records/<name>.jsonl``."""
    lines = (DOCS / "records" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def interval(share: dict[str, float]) -> str:
    return f"{percent(share['value'])} ({100 * share['low']:.1f} – {100 * share['high']:.1f})"


def quality() -> list[str]:
    """The two methods on the same corpus, and the baselines that are always beside them."""
    (mini,) = records("gpt2_mini_test")
    few = {record["selector"]: record for record in records("few_shot")}
    rows = [
        "| method | on | accuracy (95 %) | spam found | ham flagged |",
        "|---|---|---|---|---|",
    ]

    def row(name: str, record: dict[str, Any], on: str) -> None:
        flagged = 1 - record["recall"]["ham"]["value"]
        found = record["recall"]["spam"]["value"]
        cells = [name, on, interval(record["accuracy"]), percent(found), percent(flagged)]
        rows.append(f"| {' | '.join(cells)} |")

    natural = f"test part, {mini['messages']:,} messages, natural ratio"
    row("**fine-tuned** gpt2-mini", mini, natural)
    rows.append(f"| always *ham* | {natural} | {interval(mini['majority'])} | 0.0 % | 0.0 % |")
    names = {
        "topk": "**few-shot**, 4 by balanced top-k",
        "knn": "vote of the 4 nearest, no language model",
        "balanced_random": "few-shot, 4 at random, balanced",
        "random": "few-shot, 4 at random",
        "zero": "zero-shot",
    }
    half = f"test part, {few['topk']['messages']} messages, half spam"
    for selector, name in names.items():
        row(name, few[selector], half)
    return rows


def unlike() -> list[str]:
    """Messages that no training data resembles."""
    rows = [
        "| on messages unlike the corpus | AUC | accuracy | spam found | ham flagged |",
        "|---|---|---|---|---|",
    ]
    for record in records("unlike_messages"):
        if record["set"] == "sample messages":
            found, flagged = percent(record["spam_found"]), percent(record["ham_flagged"])
            rows.append(
                f"| {record['classifier']} | {record['auc']:.3f} | "
                f"{percent(record['accuracy'])} | {found} | {flagged} |"
            )
    return rows


def speed() -> list[str]:
    """Every benchmark figure that has a goal."""
    rows = ["| speed, on two cores | measured | goal | peer |", "|---|---|---|---|"]
    for name in ("bench_finetune", "bench_few_shot", "bench_chat"):
        for record in records(name):
            if record["goal"] is not None:
                unit = record["unit"]
                peer = "" if record["peer"] is None else f"{record['peer']:,.4g} {unit}"
                rows.append(
                    f"| {record['name']} | {record['value']:,.4g} {unit} | "
                    f"{record['goal']:,} {unit} | {peer} |"
                )
    return rows


def main() -> int:
    readme = README.read_text(encoding="utf-8")
    before, rest = readme.split(START)
    _, after = rest.split(END)
    tables = "\n\n".join("\n".join(table) for table in (quality(), unlike(), speed()))
    new = f"{before}{START}\n{tables}\n\n{END}{after}"
    if "--check" in sys.argv:
        return int(new != readme)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
