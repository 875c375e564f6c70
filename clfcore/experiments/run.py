"""Grids of runs: the rows of ``suites.py`` over several seeds, into records and a table.

    records.jsonl   one JSON object a line and run: what was asked, done, and measured
    table.md        the records as a table, with the command of every row

The runs of a grid share the split, so that they can be compared pair by pair.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clfcore.config import DEFAULT_LM, option_name
from clfcore.data.messages import LabelledMessages
from clfcore.data.split import content_hash, grouped_stratified_split
from clfcore.errors import TuneshotError
from clfcore.evaluation.evaluate import evaluate
from clfcore.evaluation.provenance import _machine
from clfcore.evaluation.records import Record, append_lines, open_lines
from clfcore.experiments.suites import Row, check_overrides, complaint, config_of
from clfcore.experiments.table import _checked, _group, _identity, write_table
from clfcore.model.spec import MINI
from clfcore.training.recipe import fine_tune
from clfcore.training.settings import TrainConfig, settings_for
from clfcore.types import OnProgress, ignore
from clfcore.weights.pretrained import is_gpt2

if TYPE_CHECKING:
    from accelerate import Accelerator


SMALL = "gpt2"  # the base from which the larger sizes of a suite are reached


def command_for(base: str, config: TrainConfig, data_options: Sequence[str] = ()) -> str:
    """The ``clf train`` command of a run: only what differs from the settings that suit ``base``.

    Args:
        base: what is fine-tuned.
        config: how.
        data_options: what names the data, e.g. ``("--data", "mine.csv")``.
    """
    words = ["clf", "train", "--base", base, *data_options]
    usual = settings_for(base)
    for field in fields(config):
        value = getattr(config, field.name)
        if value == getattr(usual, field.name):
            continue
        option = option_name(field)
        if isinstance(value, bool):
            words.append(option.split("/")[not value])
        else:
            words += [option, str(value)]
    return shlex.join(words)


# --- running ------------------------------------------------------------------------------------


def run_experiments(
    rows: Sequence[Row],
    base: str,
    source: LabelledMessages,
    seeds: Sequence[int],
    records: Path,
    on_progress: OnProgress = ignore,
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
        on_progress: called with (stage, done, total, figures); stage ``runs`` is the grid itself.
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
        on_progress("runs", done, total, f"{row.key}, seed {seed}")
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
            record |= _run(start, source, config, on_progress, accelerator)
        known += append_lines(records, [record])
        write_table(records)
    on_progress("runs", total, total, "")
    write_table(records)
    return known


def _run(
    base: str,
    source: LabelledMessages,
    config: TrainConfig,
    on_progress: OnProgress,
    accelerator: "Accelerator | None",
) -> Record:
    """What one run measured; or its failure, in one line."""
    about = {
        "machine": _machine(accelerator),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        result = fine_tune(base, source, config, on_progress=on_progress, accelerator=accelerator)
        val = evaluate(result.classifier, result.val)
        test = evaluate(
            result.classifier,
            result.test,
            lambda done: on_progress("evaluate", done, len(result.test), ""),
        )
    except TuneshotError as error:
        return {"error": str(error), **about}
    meta = result.classifier.meta.about
    return {
        "data": meta["data"],
        "train_accuracy": result.history[-1].train_accuracy if result.history else None,
        "val": val.to_dict(),
        "test": test.to_dict(),
        "weights": {"learning": result.trained_weights, "all": result.all_weights},
        "seconds": round(result.seconds, 2),
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
