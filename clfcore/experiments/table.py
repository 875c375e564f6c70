"""The table of the records of the experiments."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from clfcore.errors import TuneshotError
from clfcore.evaluation.intervals import _mean_share, _others, _over_seeds
from clfcore.evaluation.metrics import Share
from clfcore.evaluation.records import Record, not_a_record, read_lines
from clfcore.experiments.suites import SUITES, shown
from clfcore.paths import atomic_write
from clfcore.training.settings import TrainConfig

PUBLISHED_TEST = 300  # messages of the book's test part, half of them spam


# --- records ------------------------------------------------------------------------------------


def read_records(path: Path) -> list[Record]:
    """The records of a file; half a line at its end, left by a kill, is not one.

    Raises:
        TuneshotError: the file cannot be read, or a line is not a record.
    """
    if not path.exists():
        raise TuneshotError(f"no records in {path}; make some: clf experiments SUITE")
    return _checked(path, read_lines(path))


def _checked(path: Path, records: list[Record]) -> list[Record]:
    for number, record in enumerate(records, start=1):
        try:
            _group(record)
        except (TypeError, KeyError) as error:
            raise not_a_record(path, number) from error
    return records


def _identity(record: Record) -> str:
    """What makes a run this run and no other."""
    return json.dumps([record["base"], record["config"], record["data"]["sha256"]], sort_keys=True)


def _group(record: Record) -> tuple[str, str]:
    """What the runs have in common that are one row of a table: all but the seed."""
    return record["key"], _identity({**record, "config": {**record["config"], "seed": None}})


# --- the table ----------------------------------------------------------------------------------

_INTERVALS = """\
- In brackets: 95 % intervals. A share is the mean over the seeds, and its interval is Wilson's for
  that mean and the number of test messages. All seeds share one test part, so their answers do not
  count as more messages. The balanced accuracy is the mean of the labels' recalls; its interval
  combines theirs (Zou & Donner 2008).
- *seeds*: how many, and the smallest and the largest test accuracy among them. They change all that
  is random but the split.
- Balancing is for the training part only: the test part has its natural ratio. No message of one
  part has a copy in another.
- Every row has the lecture's learning rate unless it says otherwise. It was chosen for whole
  blocks; adapters often want a larger one: `--set learning_rate=…`.
- *seconds*: wall-clock time of learning and calibrating, mean over the seeds. Measured on
  {machines}."""

_PUBLISHED = """\
- *published*: the test accuracy in github.com/rasbt/LLMs-from-scratch,
  ch06/02_bonus_additional-experiments (commit 28c65cd): one run of GPT-2 (small, 124M, unless the
  row names a size) on an A100, 5 epochs at a learning rate of 5e-5. There, 1,494 messages were
  balanced *before* they were split, and 300 are the test part, half of them spam. So compare it
  with the *balanced accuracy* here, not with the accuracy at the natural ratio. Its brackets are
  Wilson's for 300 messages.
- Not quite the published experiments: gradients are clipped here; the mean (book-19) leaves padding
  out; LoRA is scaled by 1 instead of 16 (book-11) or 8 (book-12), and the head beside it learns as
  a whole."""


def write_table(records: Path) -> str:
    """Writes the table of a records file as ``table.md`` beside it, and returns it.

    Raises:
        TuneshotError: the records cannot be read, or the table not written.
    """
    text = table(read_records(records))
    with atomic_write(records.with_name("table.md")) as new:
        new.write_text(text, encoding="utf-8")
    return text


def table(records: Sequence[Record]) -> str:
    """Records as Markdown: for each data set one line per row, then the commands and notes."""
    order = {row.key: i for i, row in enumerate(row for rows in SUITES.values() for row in rows)}
    by_key = sorted(records, key=lambda record: order.get(record["key"], len(order)))
    data_sets = {record["data"]["sha256"]: record["data"]["source"] for record in records}
    parts = [
        _section([record for record in by_key if record["data"]["sha256"] == digest], name)
        for digest, name in data_sets.items()
    ]
    machines = sorted(
        {f"{m['cpu']} ({m['cores']} cores, torch uses {m['threads']}), {m['device']}"
         for m in (record["machine"] for record in records if "machine" in record)}
    )  # fmt: skip
    notes = [_INTERVALS.format(machines="; ".join(machines) or "no machine yet")]
    if any(record["published"] for record in records):
        notes.append(_PUBLISHED)
    return "\n\n".join(["# Experiments", *parts, "\n".join(notes)]) + "\n"


def _section(records: Sequence[Record], name: str) -> str:
    """The table of one data set, and the commands of its rows."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault(_group(record), []).append(record)
    judged = [record["test"]["labels"] for record in records if "test" in record]
    two = judged[0] if judged and len(judged[0]) == 2 else []
    header = ["row", "question", "base", "what differs from the lecture", "weights that learn",
              "test accuracy", "seeds", *(f"{label} found" for label in two[1:]),
              *(f"{label} flagged" for label in two[:1]), "balanced accuracy",
              "published (balanced test)", "seconds"]  # fmt: skip
    lines = [header, ["---"] * len(header)]
    lines += [_line(group, two) for group in groups.values()]
    drawn = "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)
    commands = "\n".join(
        f"# {group[0]['key']}\n{group[0]['command']}"
        for group in groups.values()
        if group[0]["command"]
    )
    return f"## {name}\n\n{drawn}\n\n```sh\n{commands}\n```"


def _line(group: Sequence[Record], two: Sequence[str]) -> list[str]:
    """The cells of one row; ``two`` are the labels if there are exactly two."""
    first = group[0]
    usual = TrainConfig().to_dict()
    differs = [f"{name}={shown(value)}" for name, value in first["config"].items()
               if name != "seed" and value != usual.get(name)]  # fmt: skip
    head = [first["key"], first["question"], first["base"], ", ".join(differs) or "nothing"]
    published = "–"
    if first["published"]:
        hits = round(first["published"][2] * PUBLISHED_TEST)
        published = _percent(Share.count(hits, PUBLISHED_TEST))

    runs = list({record["seed"]: record for record in group if "test" in record}.values())
    errors = {record["seed"]: record["error"] for record in group if "error" in record}
    for run in runs:
        errors.pop(run["seed"], None)
    failures = f"failed: {next(iter(errors.values()))}" if errors else ""
    if not runs:
        # A row that failed once was run; why it was not run before no longer matters.
        reason = failures or f"not run: {first['not_run']}"
        return [*head, "–", reason, *["–"] * (2 + len(two)), published, "–"]

    if twin := runs[0].get("same_run_as"):
        head[1] += f" The same run as {twin}."
    tests = [run["test"] for run in runs]
    recalls = {label: _over_seeds([test["recall"][label] for test in tests])
               for label in tests[0]["labels"]}  # fmt: skip
    accuracies = sorted(test["accuracy"]["value"] for test in tests)
    over_seeds = str(len(runs))
    if len(runs) > 1:
        over_seeds += f": {100 * accuracies[0]:.2f} – {100 * accuracies[-1]:.2f} %"
    if failures:
        over_seeds += f"; {len(errors)} {failures}"
    return [
        *head,
        f"{runs[0]['weights']['learning']:,}",
        _percent(_over_seeds([test["accuracy"] for test in tests])),
        over_seeds,
        *(_percent(recalls[label]) for label in two[1:]),
        *(_percent(_others(recalls[label])) for label in two[:1]),
        _percent(_mean_share(list(recalls.values()))),
        published,
        f"{mean(run['seconds'] for run in runs):.1f}",
    ]


def _percent(share: Share) -> str:
    return f"{100 * share.value:.2f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _cell(text: str) -> str:
    """``text`` where a bar or a line break would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")
