"""The table of the records of the experiments."""

from collections.abc import Sequence
from statistics import mean

from clfcore.evaluation.intervals import Share, complement, mean_of, over_seeds
from clfcore.evaluation.records import Record, identity
from clfcore.evaluation.runner import RecordFormat
from clfcore.experiments.suites import SUITES
from clfcore.training.settings import TrainConfig
from clfcore.wording import assignments, markdown_table, newest_plain

PUBLISHED_TEST = 300  # messages of the book's test part, half of them spam


# --- records ------------------------------------------------------------------------------------


def run_identity(record: Record) -> str:
    """What makes a run this run and no other, under whatever key."""
    return identity(record, "base")


def row_and_settings(record: Record) -> tuple[str, str]:
    """What the runs of one row of a table share: all but the seed."""
    return record["key"], run_identity({**record, "config": {**record["config"], "seed": None}})


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
        groups.setdefault(row_and_settings(record), []).append(record)
    labels = [record["test"]["labels"] for record in records if "test" in record]
    two = labels[0] if labels and len(labels[0]) == 2 else []
    header = ["row", "question", "base", "what differs from the lecture", "weights that learn",
              "test accuracy", "seeds", *(f"{label} found" for label in two[1:]),
              *(f"{label} flagged" for label in two[:1]), "balanced accuracy",
              "published (balanced test)", "seconds"]  # fmt: skip
    bases = newest_plain((record["base"], _files(record)) for record in records)
    drawn = markdown_table(
        header,
        (_line(group, two, bases[group[0]["base"], _files(group[0])]) for group in groups.values()),
    )
    commands = "\n".join(
        f"# {group[0]['key']}\n{group[0]['command']}"
        for group in groups.values()
        if group[0]["command"]
    )
    return f"## {name}\n\n{drawn}\n\n```sh\n{commands}\n```"


def _files(record: Record) -> str:
    """What tells two bases of one name apart."""
    return (record["inputs"]["base"] or "")[:4] if "inputs" in record else "files not recorded"


def _line(group: Sequence[Record], two: Sequence[str], base: str) -> list[str]:
    """The cells of one row; ``two`` are the labels if there are exactly two."""
    first = group[0]
    usual = TrainConfig().to_dict()
    differs = {name: value for name, value in first["config"].items()
               if name != "seed" and value != usual.get(name)}  # fmt: skip
    head = [first["key"], first["question"], base, assignments(differs) or "nothing"]
    published = "–"
    if first["published"]:
        hits = round(first["published"][2] * PUBLISHED_TEST)
        published = Share.count(hits, PUBLISHED_TEST).percent(2, " %")

    by_seed = {record["seed"]: record for record in group if "test" in record}
    runs = list(by_seed.values())
    errors = {record["seed"]: record["error"] for record in group
              if "error" in record and record["seed"] not in by_seed}  # fmt: skip
    failures = f"failed: {next(iter(errors.values()))}" if errors else ""
    if not runs:
        # A row that failed once was run; why it was not run before no longer matters.
        reason = failures or f"not run: {first['not_run']}"
        return [*head, "–", reason, *["–"] * (2 + len(two)), published, "–"]

    if original := runs[0].get("same_run_as"):
        head[1] += f" The same run as {original}."
    tests = [run["test"] for run in runs]
    recalls = {label: over_seeds([test["recall"][label] for test in tests], spread=False)
               for label in tests[0]["labels"]}  # fmt: skip
    accuracies = sorted(test["accuracy"]["value"] for test in tests)
    seeds = str(len(runs))
    if len(runs) > 1:
        seeds += f": {100 * accuracies[0]:.2f} – {100 * accuracies[-1]:.2f} %"
    if failures:
        seeds += f"; {len(errors)} {failures}"
    return [
        *head,
        f"{runs[0]['weights']['learning']:,}",
        over_seeds([test["accuracy"] for test in tests], spread=False).percent(2, " %"),
        seeds,
        *(recalls[label].percent(2, " %") for label in two[1:]),
        *(complement(recalls[label]).percent(2, " %") for label in two[:1]),
        mean_of(list(recalls.values())).percent(2, " %"),
        published,
        f"{mean(run['seconds'] for run in runs):.1f}",
    ]


EXPERIMENTS = RecordFormat(
    duration_group=lambda record: str([record["key"], record["base"]]),
    fields=("key", "base"),
    table=table,
)
