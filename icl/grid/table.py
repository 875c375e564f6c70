"""The table of a grid in the form of the lecture's survey, its published figures beside ours.

Rows are models and selectors, columns are tasks.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from statistics import mean
from typing import Any

from clfcore.evaluation.intervals import mean_of, over_seeds, paired_over_seeds
from clfcore.evaluation.records import Record
from clfcore.evaluation.runner import RecordFormat, current
from clfcore.evaluation.shown import labels_in_words, number_in_words, pooled
from clfcore.json_text import to_json
from clfcore.types import NO_ANSWER
from clfcore.wording import assignments, markdown_table, newest_plain
from icl.lm.open import API
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig

SURVEY_TASKS = ("sst5", "sst2", "commonsense_qa", "snli", "ag_news")
COLUMNS = {
    "sst5": "SST5",
    "sst2": "SST2",
    "commonsense_qa": "CQA",
    "snli": "SNLI",
    "ag_news": "News",
    "sms_spam": "SMS",
}

# Dong et al., "A Survey on In-context Learning", arXiv 2301.00234v6, Table 2: accuracy in percent,
# in the order of SURVEY_TASKS.
PUBLISHED: dict[str, dict[str, tuple[float, ...]]] = {
    "GPT2": {
        "topk": (40.1, 74.9, 30.2, 39.7, 62.7),
        "votek": (32.4, 51.0, 29.8, 35.8, 25.5),
        "mdl": (43.3, 86.7, 32.7, 41.4, 68.0),
    },
    "GPT-J": {
        "topk": (46.9, 84.6, 58.4, 60.7, 69.1),
        "votek": (33.8, 87.3, 63.4, 43.1, 25.3),
        "mdl": (37.6, 87.9, 64.1, 59.8, 68.2),
    },
    "Qwen2": {
        "topk": (54.1, 83.3, 76.3, 68.2, 64.9),
        "votek": (55.3, 86.9, 76.1, 51.6, 65.3),
        "mdl": (54.6, 86.1, 77.1, 65.0, 63.2),
    },
    "Llama3": {
        "topk": (53.0, 90.3, 76.1, 64.0, 74.0),
        "votek": (54.9, 88.9, 72.6, 57.7, 78.3),
        "mdl": (54.4, 89.1, 76.5, 59.9, 74.6),
    },
}

BASELINES = ("zero", "random", "knn")  # beside every other selector
ZERO_SHOT = {"selector": "zero", "calibration": "none"}  # what every other row is compared with
_FIRST = (*BASELINES, "topk", "votek", "mdl")
_AXES = ("task", "lm", "selector", "options", "k", "seed")  # in every record
# Shown beside the selector where they are not the usual ones.
_ARRANGED = ("balance", "order", "calibration")
_VARIED = (*_AXES, *_ARRANGED)  # within one section of the table
_DRAWN = ("limit", "balanced")
_OF_TASK = ("pool", "questions", "template", "embedder")  # the inputs that a task's column is about

_NOTES = """\
- Accuracy in percent: the mean over the seeds. A seed draws its own test messages, the same ones
  for every row, and changes whatever is random in a selector.
- In brackets: 95 % intervals, for other messages and other seeds. Wilson's (1927) for the mean p,
  whose variance is taken as p(1 − p)/n + s²/S, with Student's t for Satterthwaite's (1946) degrees
  of freedom. n counts the messages of one seed: those of the others overlap with them. s² is the
  variance among the S seeds' accuracies; a part of it is messages once more, so the interval is
  rather too wide than too narrow. With one seed, it is for other messages only.
- All rows answer the same messages, so two of them may differ for certain though their intervals
  overlap. To find out, compare them message by message; the answers are kept beside the records.
- *zero* shows no examples; *random* shows k drawn from the pool, labels as they come; *knn* is the
  vote of the k most similar messages, without a language model."""

_COMPARED = "Points of accuracy above zero-shot:"

_PAIRED = """\
- *above zero-shot*, without a calibration: compared message by message, with the 95 % interval of
  Agresti & Min (2005); for several seeds as above."""

_SHOWN = """\
- *shown*: how many examples a prompt showed, on average and at least: fewer than k where they did
  not fit, or where the pool has too few. The second table says of which labels they were."""

_BEFORE = """\
- *before*: recorded with another pool, other questions, another prompt format or sentence model, or
  other files or another server for the same model, than what is newest here; kept, and not averaged
  with it."""

_SILENT = f"""\
- *{NO_ANSWER}*: how many replies named no label. They count as mistakes."""

_AVERAGE = """\
- *average*: of the five tasks of the survey, each counting the same."""

_SURVEY = """\
- *published*: Dong et al., "A Survey on In-context Learning", arXiv 2301.00234v6, Table 2. It gives
  no intervals, and its set-up (prompts, k, test messages) is not known here: a context, not a goal.
  Its *votek* fits one fixed list for all messages, as here; *votek_pool* is the use in the vote-k
  paper."""


# --- the table ----------------------------------------------------------------------------------


def table(records: Iterable[Record]) -> str:
    """Records as Markdown: a section for each way of prompting and of drawing.

    A section's heading has what differs from the defaults of ``FewShotConfig``.
    """
    usual = FewShotConfig().to_dict()
    sections: dict[str, list[Record]] = {}
    newest = current(records)
    for record in newest:
        settings = {
            name: value
            for name, value in record["config"].items()
            if name not in _VARIED
            and (name in _DRAWN or value not in (usual.get(name), _preferred(record).get(name)))
        }
        sections.setdefault(assignments(settings), []).append(record)
    columns = {_task(record) for record in newest}
    parts = [f"## {settings}\n\n{_section(group)}" for settings, group in sections.items()]
    notes = [_NOTES]
    if any(_COMPARED in part for part in parts):
        notes.append(_PAIRED)
    if any(record.get("shown") for record in newest):
        notes.append(_SHOWN)
    if any(", before (" in part for part in parts):
        notes.append(_BEFORE)
    if columns.issuperset(map(_shown, SURVEY_TASKS)):
        notes.append(_AVERAGE)
    if columns.intersection(map(_shown, SURVEY_TASKS)):
        notes.append(_SURVEY)
    if _no_answer(newest):
        notes.append(_SILENT)
    notes += _asked(newest)
    notes += _failures(newest) + _other_messages(newest)
    return "\n\n".join(["# Few-shot grid", *parts, "\n".join(notes)]) + "\n"


def _section(records: Sequence[Record]) -> str:
    """The table of records that differ in ``_VARIED`` only."""
    names = newest_plain((_task(record), _about(record)) for record in records)
    column_of = {id(record): names[_task(record), _about(record)] for record in records}
    in_order = dict.fromkeys([*COLUMNS.values(), *column_of.values()])
    present = set(column_of.values())
    columns = [column for column in in_order if column in present]
    five = [_shown(task) for task in SURVEY_TASKS]
    averaged = present.issuperset(five)
    silent = any(_no_answer([record]) for record in records)
    prompts = any(record.get("shown") for record in records)  # earlier versions did not say
    header = ["model", "selector", "k", *["shown"] * prompts, "seeds", *columns]
    header += ["average"] * averaged + [NO_ANSWER] * silent
    lines = []
    for (model, selector, k), row in _rows(records).items():
        of = {column: [r for r in row if column_of[id(r)] == column] for column in columns}
        tests = {
            column: [r["test"]["accuracy"] for r in runs if "test" in r]
            for column, runs in of.items()
        }
        figures = {column: over_seeds(shares) for column, shares in tests.items() if shares}
        seeds = sorted({len(shares) for shares in tests.values() if shares})
        cells = [
            figures[column].percent() if column in figures else "failed" if of[column] else "–"
            for column in columns
        ]
        if averaged:
            whole = figures.keys() >= set(five)
            cells.append(mean_of([figures[c] for c in five]).percent() if whole else "–")
        counted = "–".join(str(n) for n in dict.fromkeys([*seeds[:1], *seeds[-1:]])) or "–"
        if silent:
            asked = sum(record["test"]["messages"] for record in row if "test" in record)
            cells.append(f"{_no_answer(row):,} of {asked:,}" if asked else "–")
        shown = [number_in_words(_shown_by(row))] * prompts
        lines.append([model, selector, k, *shown, counted, *cells])

    for model, selectors in PUBLISHED.items() if present.intersection(five) else ():
        for selector, published in selectors.items():
            by_column = dict(zip(five, published, strict=True))
            cells = [f"{by_column[c]:.1f}" if c in by_column else "–" for c in columns]
            average = [f"{mean(published):.1f}"] * averaged
            cells += average + ["–"] * silent
            lines.append([f"{model}, published", selector, *["–"] * (2 + prompts), *cells])
    drawn = markdown_table(header, lines)
    if prompts:
        drawn += "\n\nExamples of each label in a prompt:\n\n" + markdown_table(
            ["model", "selector", "k", "balance", *columns],
            (
                [*name, _balance(row[0]), *(
                    labels_in_words(_shown_by([r for r in row if column_of[id(r)] == column]))
                    for column in columns
                )]
                for name, row in _rows(records).items()
                if row
            ),
        )  # fmt: skip
    compared = differences(records)
    return f"{drawn}\n\n{_COMPARED}\n\n{compared}" if compared else drawn


def differences(records: Sequence[Record], reference: Mapping[str, Any] = ZERO_SHOT) -> str:
    """How much more accurate each row is than another, message by message, as a Markdown table.

    Args:
        records: of one section; those from before single answers were recorded are left out.
        reference: settings of the other row. It is that of the same model; a row without a model
            is compared where there is one model only.

    Returns:
        Nothing, where there is no such row, or no other.
    """
    names = newest_plain((_task(record), _about(record)) for record in records)
    records = [record for record in records if record.get("right")]
    models = {record["config"]["lm"] for record in records} - {None}

    def place(record: Record, lm: str) -> tuple[str, str, int, str]:
        column = names[_task(record), _about(record)]
        return column, lm, record["config"]["seed"], record["test"]["data_sha256"]

    def is_other(record: Record) -> bool:
        return reference.items() <= record["config"].items()

    of_other = {place(r, r["config"]["lm"]): _right(r) for r in records if is_other(r)}
    columns = [name for name in dict.fromkeys([*COLUMNS.values(), *names.values()])
               if name in names.values()]  # fmt: skip
    lines = []
    for name, row in _rows(records).items():
        pairs: dict[str, list[tuple[Sequence[bool], Sequence[bool]]]] = {}
        for record in row:
            lm = record["config"]["lm"] or (next(iter(models)) if len(models) == 1 else "")
            if not is_other(record) and (there := place(record, lm)) in of_other:
                pairs.setdefault(there[0], []).append((_right(record), of_other[there]))
        gains = {column: paired_over_seeds(of_seeds) for column, of_seeds in pairs.items()}
        if gains:
            cells = (gains[n].points() if n in gains else "–" for n in columns)
            lines.append([*name, *cells])
    return markdown_table(["model", "selector", "k", *columns], lines) if lines else ""


def _right(record: Record) -> list[bool]:
    """Whether each message was answered right."""
    return [answer == "1" for answer in record["right"]]


def _shown_by(records: Sequence[Record]) -> dict[str, Any] | None:
    """What the prompts of some records showed; older ones do not say."""
    return pooled([record["shown"] for record in records if record.get("shown")])


def _no_answer(records: Sequence[Record]) -> int:
    """How many messages got a reply that names no label; older records do not say."""
    return sum(record["test"].get("no_answer", 0) for record in records if "test" in record)


def _rows(records: Sequence[Record]) -> dict[tuple[str, str, str], list[Record]]:
    """(model, selector, k) -> its records; the baselines have rows even if they were not run."""
    names = newest_plain(
        (_model(record), _digest(record["inputs"]["lm"]))
        for record in records
        if record.get("inputs")
    )
    usual = FewShotConfig().to_dict()
    rows: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        config = record["config"]
        other = {
            name: config[name] for name in _ARRANGED if config.get(name, usual[name]) != usual[name]
        }
        if not config["k"] or SELECTORS[config["selector"]].balance:
            other.pop("balance", None)  # it makes no difference to what is shown
        settings = config["options"] | other
        options = f" ({assignments(settings)})" if settings else ""
        lm = _digest(record.get("inputs", {}).get("lm"))
        model = names.get((_model(record), lm), _model(record))
        row = (model, config["selector"] + options, str(config["k"]))
        rows.setdefault(row, []).append(record)
    models = list(dict.fromkeys(["no model", *(model for model, _, _ in rows)]))
    present = {(model, selector) for model, selector, _ in rows}
    baselines = [("no model", "knn"), *product(models[1:], ("zero", "random"))]
    rows |= {(*row, "–"): [] for row in baselines if row not in present}

    def rank(row: tuple[str, str, str]) -> tuple[int, int]:
        name = row[1].split(" ")[0]
        return models.index(row[0]), _FIRST.index(name) if name in _FIRST else len(_FIRST)

    return {row: rows[row] for row in sorted(rows, key=rank)}


def _asked(records: Sequence[Record]) -> list[str]:
    """Says where fewer messages were asked about than the limit allows."""
    fewer = {
        (_task(record), record["test"]["messages"], record["config"]["limit"]): None
        for record in records
        if "test" in record and record["test"]["messages"] < record["config"]["limit"]
    }
    return [
        f"- *asked*: {task}, {asked:,} messages a seed, though {limit:,} were allowed: there are "
        "no more in these shares."
        for task, asked, limit in fewer
    ]


def _failures(records: Sequence[Record]) -> list[str]:
    return [
        f"- *failed*: {_model(record)}, {config['selector']}, k={config['k']}, "
        f"{_task(record)}, seed {config['seed']}: {record['error']}"
        for record in records
        if "error" in record
        for config in [record["config"]]
    ]


def _other_messages(records: Sequence[Record]) -> list[str]:
    """Says where rows of a column did not answer the same messages: the data has changed."""
    messages: dict[tuple[Any, ...], set[str]] = {}
    for record in records:
        if "test" in record:
            drawn = tuple(record["config"][name] for name in ("task", "seed", *_DRAWN))
            messages.setdefault((_about(record), *drawn), set()).add(record["test"]["data_sha256"])
    return [
        f"- **Not comparable**: the rows of {_shown(task)}, seed {seed}, limit {limit}, answered "
        f"{len(digests)} different sets of messages; run them again into a new folder."
        for (_, task, seed, limit, _), digests in messages.items()
        if len(digests) > 1
    ]


def _balance(record: Record) -> str:
    """The rule by which labels were balanced: the setting, unless the selector has one."""
    config = record["config"]
    if not config["k"]:
        return "–"
    return SELECTORS[config["selector"]].balance or str(config["balance"])


def _preferred(record: Record) -> Record:
    """What a setting of ``None`` means for the model of a record."""
    return {"chat": str(record["config"]["lm"]).startswith(API)}


def _model(record: Record) -> str:
    return record["config"]["lm"] or "no model"


def _task(record: Record) -> str:
    return _shown(record["config"]["task"])


def _shown(task: str) -> str:
    return COLUMNS.get(task, task)


def _about(record: Record) -> str:
    """What tells two columns of one task apart."""
    inputs = record.get("inputs")
    if not inputs:
        return "pool not recorded"
    digest = _digest([inputs[name] for name in _OF_TASK])
    return f"pool of {inputs['pool']['messages']:,}, {digest}"


def _digest(value: object) -> str:
    return hashlib.sha256(to_json(value, sort_keys=True).encode()).hexdigest()[:4]


FEW_SHOT_GRID = RecordFormat(
    # Another task or seed takes about as long.
    lambda record: str([record["config"][name] for name in ("lm", "selector", "options", "k")]),
    config_keys={*_AXES, *_DRAWN},
    table=table,
)
