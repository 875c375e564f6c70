"""Writes the figures of README.md and the pages here from the records; none is typed by hand.

    python docs/figures.py [--check]

With ``--check`` nothing is written; the exit status is 1 if a page is out of date.
"""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from scipy.stats import t as student

from clfcore.analysis.rank import Change, at_random, missed
from clfcore.evaluation.intervals import Share, paired_over_seeds
from clfcore.experiments.table import table
from clfcore.forgetting.compare import cells, compare
from clfcore.forgetting.remedies import NONE
from clfcore.training.settings import TrainConfig
from icl.grid.table import table as survey

DOCS = Path(__file__).parent
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
    return compared([r for r in records("unlike_messages") if r["set"] == "sample messages"])


def all_sets() -> list[str]:
    """The same comparison on every set."""
    return compared(records("unlike_messages"))


def compared(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| messages | classifier | AUC | accuracy | spam found | ham flagged |",
        "|---|---|---|---|---|---|",
    ]
    for record in rows:
        shares = [percent(record[key]) for key in ("accuracy", "spam_found", "ham_flagged")]
        cells = [f"{record['set']} ({record['messages']:,})", record["classifier"]]
        lines.append(f"| {' | '.join([*cells, format(record['auc'], '.3f'), *shares])} |")
    return lines


def speed() -> list[str]:
    """Both methods and the chat."""
    return against_goals("bench_finetune", "bench_few_shot", "bench_chat", "bench_comparison")


def laboratory() -> list[str]:
    """Selectors, and reading many prompts."""
    return against_goals("bench_selection", "bench_scoring")


def against_goals(*names: str) -> list[str]:
    """Every figure of some benchmarks that has a goal."""
    rows = ["| speed, on two cores | measured | goal | peer |", "|---|---|---|---|"]
    for name in names:
        for record in records(name):
            if record["goal"] is not None:
                unit = record["unit"]
                peer = "" if record["peer"] is None else f"{record['peer']:,.4g} {unit}"
                rows.append(
                    f"| {record['name']} | {record['value']:,.4g} {unit} | "
                    f"{record['goal']:,} {unit} | {peer} |"
                )
    return rows


def configurations() -> list[str]:
    """The best configuration of each base, chosen on validation, and the bundled model's recipe.

    Means over seeds, on test.
    """
    lines = [
        "### The best of what was tried, on the test part",
        "",
        "| base | chosen settings | seeds | accuracy (95 %) | spam found | ham flagged | AUC |",
        "|---|---|---|---|---|---|---|",
    ]
    usual = TrainConfig().to_dict()
    for name in ("best_gpt2_mini", "best_smollm2", "recipe_gpt2_mini"):
        runs = records(name)
        differs = [f"{key}={value}" for key, value in runs[0]["config"].items()
                   if key not in ("seed", "precision") and value != usual[key]]  # fmt: skip
        tests = [run["test"] for run in runs]

        def mean(of: Callable[[dict[str, Any]], float], tests: list[Any] = tests) -> float:
            return sum(map(of, tests)) / len(tests)

        accuracy = mean(lambda t: t["accuracy"]["value"])
        share = Share.count(round(accuracy * tests[0]["messages"]), tests[0]["messages"])
        found = [percent(t["recall"]["spam"]["value"]) for t in tests]
        flagged = [percent(1 - t["recall"]["ham"]["value"]) for t in tests]
        cells = [
            runs[0]["base"] + (", as bundled" if name.startswith("recipe") else ""),
            ", ".join(differs),
            str(len(runs)),
            f"{percent(accuracy)} ({100 * share.low:.1f} – {100 * share.high:.1f})",
            f"{percent(mean(lambda t: t['recall']['spam']['value']))} ({', '.join(found)})",
            f"{percent(mean(lambda t: 1 - t['recall']['ham']['value']))} ({', '.join(flagged)})",
            f"{mean(lambda t: t['auc']):.4f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def tried() -> list[str]:
    """What the best configurations were chosen from, by their validation loss; one run each."""
    lines = [
        "Chosen by validation loss from these:",
        "",
        "| base | differs from what suits it | validation loss | accuracy |",
        "|---|---|---|---|",
    ]
    for run in records("tried_on_validation"):
        changes = ", ".join(f"{name}={value}" for name, value in run["changes"].items())
        lines.append(
            f"| {run['base']} | {changes or 'nothing'} | {run['val_nll']:.4f} nats | "
            f"{percent(run['val_accuracy'])} |"
        )
    return lines


def few_labels() -> list[str]:
    """gpt2-mini with 1,000 labelled messages, beside its teacher's sentence vectors; one seed."""
    lines = [
        "### A thousand labels, beside sentence vectors",
        "",
        "The recipe of gpt2-mini and what was changed in it, against logistic regression on the "
        "teacher's sentence vectors (the comparison's method `vectors`): 1,000 messages learned "
        "from, others as test, message by message, with the paired 95 % interval. *Trial*: by a "
        "loop of its own, without oversampling, while the recipe was sought.",
        "",
        "| data (labels) | test | vectors | layers | changed in the recipe | accuracy | gap |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in records("few_labels"):
        gap, margin = (100 * run[key] for key in ("difference", "margin"))
        trial = " (trial)" if run["by"] == "a trial loop" else ""
        cells = [
            f"{run['data']} ({run['labels']})",
            f"{run['messages']:,}",
            percent(run["vectors"]),
            run["layers"],
            run["changed"] + trial,
            percent(run["accuracy"]),
            f"{gap:+.1f} ± {margin:.1f} points",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


MOST_DRAWS_LISTED = 4  # of more, the mean is told with its interval


def pretraining() -> list[str]:
    """gpt2-mini before and after one pass over unlabelled messages; means over seeds."""
    runs = records("pretraining")
    (counting,) = (run for run in runs if run["start"] == "counting tokens")
    learned = [run for run in runs if "held_out" in run]
    lines = [
        "| held-out messages | loss (nats) | perplexity |",
        "|---|---|---|",
        f"| all tokens alike | {math.log(50257):.2f} | 50,257 |",
    ]
    rows = {
        name: mean(run["held_out"][when]["loss"] for run in learned)
        for name, when in (("gpt2-mini as it is", "before"), ("after one pass", "after"))
    }
    rows["counting the tokens of the same messages"] = counting["loss"]
    lines += [f"| {name} | {loss:.2f} | {math.exp(loss):,.0f} |" for name, loss in rows.items()]
    lines += [
        "",
        "| 32 labels | draws | before | after | points gained (95 %, or each draw) |",
        "|---|---|---|---|---|",
    ]
    for way in learned[0]["classified"]:
        before, after = (
            {each["seed"]: each["accuracy"] for run in runs if run["start"] == start
             for each in run["classified"][way]}
            for start in ("gpt2-mini", "gpt2-mini, continued")
        )  # fmt: skip
        gains = [100 * (after[draw] - before[draw]) for draw in after]
        gained = ", ".join(f"{gain:+.1f}" for gain in gains)
        if len(gains) > MOST_DRAWS_LISTED:
            half = student.ppf(0.975, len(gains) - 1) * stdev(gains) / len(gains) ** 0.5
            gained = f"{mean(gains):+.1f} ± {half:.1f}"
        cells = [
            way,
            str(len(gains)),
            percent(mean(before[draw] for draw in after)),
            percent(mean(after.values())),
            gained,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def growth() -> list[str]:
    """How cost grows, from the benchmark's records without a goal."""
    lines = ["### How cost grows", "", "| measured | value |", "|---|---|"]
    for record in records("bench_finetune"):
        if record["goal"] is None or "growth" in record["name"]:
            lines.append(f"| {record['name']} | {record['value']:,.4g} {record['unit']} |")
    return lines


SUITES = {
    "book": "The book's questions",
    "adapters": "Adapters",
    "imbalance": "Rare labels",
}


def experiments() -> list[str]:
    """The suites of ``clf experiments`` that were run, their headings a level lower."""
    lines: list[str] = []
    for suite, title in SUITES.items():
        text = table(records(f"experiments_{suite}"))
        head, data_set = "# Experiments\n", "\n## SMS Spam Collection\n"
        lines += text.replace(head, f"### {title}\n").replace(data_set, "").splitlines()
        lines.append("")
    return lines[:-1]


def grid() -> list[str]:
    """The evaluations of ``icl grid``."""
    return survey(records("grid")).removeprefix("# Few-shot grid\n\n").splitlines()


# Columns of the table of defaults: selector, k, balance, calibration.
TRIED_AS_DEFAULT = {
    "zero-shot": ("zero", 0, None, "none"),
    "calibrated": ("zero", 0, None, "batch"),
    "4, equal": ("topk", 4, "equal", "none"),
    "4, none": ("topk", 4, "none", "none"),
    "calibrated ": ("topk", 4, "none", "batch"),
    "**8, none**": ("topk", 8, "none", "none"),
    "calibrated  ": ("topk", 8, "none", "batch"),
}

# Columns of differences -> what the default is compared with.
AGAINST = {"against zero-shot": "zero-shot", "against 4, equal": "4, equal"}


def defaults() -> list[str]:
    """What the defaults of a prompt were chosen by: the same messages for all columns of a row."""
    of_row: dict[tuple[str, int], dict[tuple[Any, ...], dict[str, Any]]] = {}
    for record in records("defaults"):
        config = record["config"]
        balance = config["balance"] if config["selector"] == "topk" else None
        settings = (config["selector"], config["k"], balance, config["calibration"])
        of_row.setdefault((config["task"], record["test"]["messages"]), {})[settings] = record
    *_, chosen, _ = TRIED_AS_DEFAULT.values()
    lines = [
        f"| {' | '.join(['task', 'messages', *TRIED_AS_DEFAULT, *AGAINST])} |",
        "|---" * (2 + len(TRIED_AS_DEFAULT) + len(AGAINST)) + "|",
    ]
    for (task, messages), of_settings in sorted(of_row.items()):
        cells = [
            f"{100 * of_settings[each]['test']['accuracy']['value']:.1f}"
            if each in of_settings
            else "–"
            for each in TRIED_AS_DEFAULT.values()
        ]
        for name in AGAINST.values():
            both = [of_settings[chosen]["right"], of_settings[TRIED_AS_DEFAULT[name]]["right"]]
            right, other = ([mark == "1" for mark in marks] for marks in both)
            gain = paired_over_seeds([(right, other)])
            cells.append(f"{100 * gain.value:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]")
        lines.append(f"| {task} | {messages:,} | {' | '.join(cells)} |")
    return lines


def load() -> list[str]:
    """A class at the server; what a visitor notices, without a goal, too."""
    lines = ["| on two cores | measured | goal |", "|---|---|---|"]
    for record in records("bench_load"):
        unit = record["unit"]
        goal = "" if record["goal"] is None else f"{record['goal']:,} {unit}"
        lines.append(f"| {record['name']} | {record['value']:,.4g} {unit} | {goal} |")
    return lines


def ranks() -> list[str]:
    """What a change of rank r misses of gpt2-mini's full fine-tuning, and what that does to it."""
    (record,) = (r for r in records("rank_gpt2_mini") if "matrices" in r)
    cut = {r["rank"]: r for r in records("rank_gpt2_mini") if "accuracy" in r}
    found = [
        Change(m["name"], tuple(m["shape"]), m["size"], np.array(m["singular_values"]))
        for m in record["matrices"]
    ]
    lines = [
        "| rank | weights of the change | missed | of random numbers | accuracy (95 %) | AUC | "
        "answers changed |",
        "|---|---|---|---|---|---|---|",
    ]
    most = max(len(each.singular_values) for each in found)
    for rank in (0, 1, 2, 4, 8, 16, 32, 64, 128, most):
        learning = rank * sum(sum(each.shape) for each in found)
        judged = cut.get(rank)
        cells = [
            "all" if rank == most else str(rank),
            f"{sum(a * b for a, b in (e.shape for e in found)) if rank == most else learning:,}",
            percent(missed(found, rank)),
            percent(missed(at_random(found), rank)),
            interval(judged["accuracy"]) if judged else "–",
            f"{judged['auc']:.4f}" if judged else "–",
            f"{judged['answers_changed']} of {judged['messages']:,}" if judged else "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def quantization() -> list[str]:
    """gpt2-mini in every scheme, beside what it was and beside weights in another order."""
    rows = [
        "| stored as | of | MB | weight error | change of probability | answers changed | accuracy "
        "| AUC |",
        "|---|---|---|---|---|---|---|---|",
    ]

    def row(name: str, scope: str, of: dict[str, Any]) -> None:
        size = "" if of["bytes"] is None else f"{of['bytes'] / 1e6:.1f}"
        cells = [
            name, scope, size, percent(of["weight_error"]), f"{of['probability_change']:.4f}",
            str(of["answers_changed"]), percent(of["accuracy"]), f"{of['auc']:.3f}",
        ]  # fmt: skip
        rows.append(f"| {' | '.join(cells)} |")

    everything = records("quantization")
    for baseline in dict.fromkeys(record["baseline"] for record in everything):
        found = [record for record in everything if record["baseline"] == baseline]
        row(f"**{baseline}**", "", found[0]["models"]["before"])
        for record in found:
            row(f"`{record['scheme']}`", record["scope"], record["models"]["after"])
        for scope, of in {each["scope"]: each["models"]["shuffled"] for each in found}.items():
            row("*shuffled*", scope, of)
    return rows


def forgetting() -> list[str]:
    """What gpt2-mini forgot of spam where it knows a second task equally well; over seeds."""
    runs = records("forgetting")
    rows = compare(runs)
    lines = [
        "| remedy | new task, at last | steps until equal | old task, points [95 %] | kept by the "
        "remedy, points [95 %] | old task, at last |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        last = mean(
            run["test"]["curve"][-1]["old_accuracy"]
            for run in runs
            if run["config"]["remedy"] == row["remedy"]
        )
        first, *others = (cell.replace(" points", "") for cell in cells(row))
        saved = row["saved"]["old_accuracy"]
        told = row["remedy"] != NONE and not math.isnan(saved.low)
        kept = saved.points() if told else ""
        lines.append(f"| {' | '.join([f'`{first}`', *others, kept, percent(last)])} |")
    return lines


def learned_in_three_values() -> list[str]:
    """gpt2-mini in float32, and its blocks in three values: learned so, and rounded afterwards."""
    rows = ["| the blocks' weights | seeds | balanced accuracy | mean |", "|---|---|---|---|"]

    def row(name: str, seeds: str, found: list[float]) -> None:
        mean = percent(sum(found) / len(found))
        rows.append(f"| {name} | {seeds} | {', '.join(map(percent, found))} | {mean} |")

    def balanced(found: list[dict[str, Any]]) -> list[float]:
        return [record["test"]["balanced_accuracy"] for record in found]

    three = records("quantization_aware")
    row("float32", "0, 1, 2", balanced(records("recipe_gpt2_mini")))
    learned = [record for record in three if record["seed"] is not None]
    row("ternary, learned so", "0, 1, 2", balanced(learned))
    row("bundled model", "", [records("gpt2_mini_test")[0]["balanced_accuracy"]])
    row("the same, ternary afterwards", "", balanced([r for r in three if r["seed"] is None]))
    return rows


def saved() -> list[str]:
    """What QLoRA saves, and how fast 8 bits are: ``benchmarks/quantization.py``."""
    rows = ["| measured | value | goal | peer |", "|---|---|---|---|"]
    for of in records("bench_quantization"):
        goal = "" if of["goal"] is None else f"{of['goal']:g}"
        peer = "" if of["peer"] is None else f"{of['peer']:.4g} {of['unit']}"
        rows.append(f"| {of['name']} | {of['value']:.4g} {of['unit']} | {goal} | {peer} |")
    return rows


PAGES = {
    DOCS.parent / "README.md": (quality, unlike, speed),
    DOCS / "gpt2-mini.md": (all_sets,),
    DOCS / "labs/pretraining.md": (pretraining,),
    DOCS / "in-context-learning.md": (laboratory,),
    DOCS / "grid.md": (grid,),
    DOCS / "few-shot.md": (defaults,),
    DOCS / "serving.md": (load,),
    DOCS / "labs/rank.md": (ranks,),
    DOCS / "labs/quantization.md": (quantization, learned_in_three_values, saved),
    DOCS / "labs/forgetting.md": (forgetting,),
    DOCS / "fine-tuning.md": (configurations, tried, few_labels, growth, experiments),
}


def main() -> int:
    stale = False
    for page, tables in PAGES.items():
        old = page.read_text(encoding="utf-8")
        new, *blocks = old.split(START)
        made = ["\n".join(table()) for table in tables]
        if len(blocks) == 1:  # one place for all
            made = ["\n\n".join(made)]
        for figures, block in zip(made, blocks, strict=True):
            new += f"{START}\n{figures}\n\n{END}{block.split(END)[1]}"
        stale = stale or new != old
        if "--check" not in sys.argv:
            page.write_text(new, encoding="utf-8")
    return int(stale and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
