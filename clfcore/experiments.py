"""Grids of runs: the rows of ``suites.py`` over several seeds, into records and a table.

    records.jsonl   one JSON object a line and run: what was asked, done, and measured
    table.md        the records as a table, with the command of every row

The runs of a grid share the split, so that they can be compared pair by pair.
"""

import json
import math
import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from statistics import NormalDist, mean
from typing import TYPE_CHECKING, Any

import torch

from clfcore.config import MINI
from clfcore.data import Source, content_hash, grouped_stratified_split
from clfcore.errors import TuneshotError
from clfcore.evaluate import evaluate
from clfcore.huggingface import DEFAULT_LM
from clfcore.metrics import Share
from clfcore.paths import atomic_write
from clfcore.pretrained import is_gpt2
from clfcore.recipe import learn
from clfcore.records import Record, append_lines, not_a_record, open_lines, read_lines
from clfcore.settings import TrainConfig, settings_for
from clfcore.suites import SUITES, Row, check_overrides, complaint, config_of, shown
from clfcore.types import Say, unheard

if TYPE_CHECKING:
    from accelerate import Accelerator

SMALL = "gpt2"  # the base from which the larger sizes of a suite are reached
PUBLISHED_TEST = 300  # messages of the book's test part, half of them spam


def command_for(base: str, config: TrainConfig, data_options: Sequence[str] = ()) -> str:
    """The ``clf train`` command of a run: only what differs from the settings that suit ``base``.

    Args:
        base: what is fine-tuned.
        config: how.
        data_options: what names the data, e.g. ``("--data", "mine.csv")``.
    """
    words = ["clf", "train", "--base", base, *data_options]
    usual = settings_for(base).to_dict()
    for name, value in config.to_dict().items():
        if value == usual[name]:
            continue
        if name == "causal":
            words.append("--causal-mask" if value else "--no-causal-mask")
        else:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


# --- running ------------------------------------------------------------------------------------


def run_experiments(
    rows: Sequence[Row],
    base: str,
    source: Source,
    seeds: Sequence[int],
    records: Path,
    say: Say = unheard,
    overrides: Mapping[str, Any] | None = None,
    *,
    data_options: Sequence[str] = (),
    accelerator: "Accelerator | None" = None,
) -> list[Record]:
    """Runs every row with every seed, and writes each run down as soon as it has ended.

    What is recorded already, under whatever key, is not run again: a killed grid goes on where it
    was. Failures are recorded too, and the grid goes on; they are tried again at the next start.
    All rows are run with the first seed before any is run with the second.

    Args:
        rows: the questions.
        base: see ``load_base``. Rows about a larger GPT-2 are run if it is ``gpt2``.
        source: labelled messages.
        seeds: of everything random but the split.
        records: a file, see ``read_records``; ``table.md`` is kept up to date beside it.
        say: hears (stage, done, total, figures); the grid itself is the stage ``runs``.
        overrides: settings for all rows that are not about them.
        data_options: what names the data in a command, e.g. ``("--data", "mine.csv")``.
        accelerator: on which device.

    Returns:
        All records of the file.

    Raises:
        TuneshotError: before any work: an override that fits no row, unusable data or base, or a
            file that cannot be written.
    """
    overrides = overrides or {}
    check_overrides(rows, overrides)
    split_seed = overrides.get("split_seed", 0)
    grouped_stratified_split(source.examples, split_seed)
    reasons = {row.key: _why_not(row, base, overrides) for row in rows}
    runnable = [row for row in rows if reasons[row.key] is None]
    if any(config_of(row, overrides, 0).weights == "pretrained" for row in runnable):
        _check_base(base)
    known = _checked(records, open_lines(records))

    data = {"source": source.name, "sha256": content_hash(source.examples)}
    for row in rows:
        if reasons[row.key] is not None:
            record = _not_run(row, base, overrides, data_options, data)
            record["not_run"] = reasons[row.key]
            if _group(record) not in map(_group, known):
                known += append_lines(records, [record])
    total = len(runnable) * len(seeds)
    for done, (seed, row) in enumerate(product(seeds, runnable)):
        say("runs", done, total, f"{row.key}, seed {seed}")
        config, start = config_of(row, overrides, seed), row.size or base
        record = {
            **_names(row),
            "base": start,
            "command": command_for(start, config, data_options),
            "config": config.to_dict(),
            "seed": seed,
            "data": {**data, "split_seed": config.split_seed},
        }
        twins = [old for old in known if "test" in old and _identity(old) == _identity(record)]
        if any(old["key"] == row.key for old in twins):
            continue
        if twins:
            record = {"same_run_as": twins[0]["key"], **twins[0], **_names(row)}
        else:
            record |= _run(start, source, config, say, accelerator)
        known += append_lines(records, [record])
        write_table(records)
    say("runs", total, total, "")
    write_table(records)
    return known


def _run(
    base: str, source: Source, config: TrainConfig, say: Say, accelerator: "Accelerator | None"
) -> Record:
    """What one run measured; or its failure, in one line."""
    about = {
        "machine": _machine(accelerator),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        learnt = learn(base, source, config, say=say, accelerator=accelerator)
        val = evaluate(learnt.classifier, learnt.val)
        test = evaluate(
            learnt.classifier, learnt.test, lambda done: say("judge", done, len(learnt.test), "")
        )
    except TuneshotError as error:
        return {"error": str(error), **about}
    meta = learnt.classifier.meta.about
    return {
        "data": meta["data"],
        "train_accuracy": learnt.history[-1].train_accuracy if learnt.history else None,
        "val": val.to_dict(),
        "test": test.to_dict(),
        "weights": {"learning": learnt.learning, "all": learnt.weights},
        "seconds": round(learnt.seconds, 2),
        "versions": meta["versions"],
        **about,
    }


def _not_run(
    row: Row,
    base: str,
    overrides: Mapping[str, Any],
    data_options: Sequence[str],
    data: Mapping[str, Any],
) -> Record:
    """What a row asks for; with a command where there is one."""
    start, command = row.size or base, None
    if not complaint(row, overrides):
        command = command_for(start, config_of(row, overrides, 0), data_options)
    asked = {**TrainConfig().to_dict(), **overrides, **row.changes}
    return {**_names(row), "base": start, "command": command, "config": asked, "seed": 0,
            "data": dict(data)}  # fmt: skip


def _names(row: Row) -> Record:
    return {"key": row.key, "question": row.question, "published": row.published}


def _why_not(row: Row, base: str, overrides: Mapping[str, Any]) -> str | None:
    """Why a row is not run with this base and these overrides; ``None`` if it is."""
    if row.size is not None and base != SMALL:
        return f"needs {row.size}; give --base {SMALL} to run it"
    return complaint(row, overrides)


def _check_base(base: str) -> None:
    """A base that is not to be had fails here, once, and not in every row."""
    if base not in (MINI, DEFAULT_LM):
        is_gpt2(base)


def _machine(accelerator: "Accelerator | None") -> dict[str, Any]:
    device = accelerator.device if accelerator else torch.device("cpu")
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def cpu_name() -> str:
    """The processor, as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


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


def _over_seeds(shares: Sequence[Mapping[str, Any]]) -> Share:
    """The mean of shares of the same messages, with the interval of one such share.

    Wilson 1927, eq. 13, as in ``Share.count``, which takes whole numbers of hits only.
    """
    hits, n = mean(share["hits"] for share in shares), shares[0]["of"]
    p, z = hits / n, NormalDist().inv_cdf(0.975)
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2) / (1 + z**2 / n)
    return Share(round(hits), n, p, middle - half, middle + half)


def _others(share: Share) -> Share:
    """The share of all other messages."""
    return Share(share.of - share.hits, share.of, 1 - share.value, 1 - share.high, 1 - share.low)


def _mean_share(shares: Sequence[Share]) -> Share:
    """The mean of shares of different messages.

    Its interval is theirs, added as independent errors are (Zou & Donner 2008, eq. 3).
    """
    middle = mean(share.value for share in shares)
    below = math.hypot(*(share.value - share.low for share in shares)) / len(shares)
    above = math.hypot(*(share.high - share.value for share in shares)) / len(shares)
    hits, of = sum(share.hits for share in shares), sum(share.of for share in shares)
    return Share(hits, of, middle, middle - below, middle + above)


def _percent(share: Share) -> str:
    return f"{100 * share.value:.2f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _cell(text: str) -> str:
    """``text`` where a bar or a line break would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")
