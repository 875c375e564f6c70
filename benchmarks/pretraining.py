"""What next-token training on the messages of a task does, to perplexity and to classification.

    python benchmarks/pretraining.py [--seeds N] [--out FILE] [--figure FILE]

Each seed is two records: gpt2-mini's trunk as it is, and after one pass of learning to predict the
tokens of the sample's training messages, without their labels. Both are then classifiers in two
ways: a logistic regression on their vectors, and all layers fine-tuned; each with the same 32
labelled messages of the training part, and judged on the test part, which nothing has read. One
more record says what counting tokens achieves. Records that are there already are not made again.
"""

import argparse
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from clfcore.cli.terminal import run_app
from clfcore.data.draw import draw
from clfcore.data.messages import sample_messages
from clfcore.data.split import spare_some
from clfcore.evaluation.evaluate import evaluate
from clfcore.evaluation.provenance import about_this_run
from clfcore.evaluation.records import append_lines, open_lines
from clfcore.model.spec import END_OF_TEXT, MINI
from clfcore.model.tokenizer import encode
from clfcore.pretraining.documents import documents_of, pack
from clfcore.pretraining.language_model import load_writing_base
from clfcore.pretraining.recipe import pretrain
from clfcore.pretraining.settings import pretraining_settings
from clfcore.training.curves import TRAINING, VALIDATION, save_figure
from clfcore.training.recipe import fine_tune_on
from clfcore.training.settings import settings_for
from clfcore.weights.bases import Base

LABELLED = 32
AS_IT_IS, CONTINUED, COUNTING = "gpt2-mini", "gpt2-mini, continued", "counting tokens"
ADDED = 0.1  # to the count of every token, so that new ones are not impossible
DRAWS = 4  # of the labelled messages a seed, for the regression
PRETRAINING = {"block": 64, "epochs": 1, "validate_every": 17}
WAYS = {
    "regression": {"layers": "none"},
    "all layers": {"layers": "all", "least_steps": 60, "fit_head_first": True},
}


def classify(trunk, encode, messages, split, way, seed):
    """What a classifier of ``trunk`` makes of the test part, having seen 32 labelled messages."""
    labels = sorted({example.label for example in messages})
    part = [messages[row] for row in split.train]
    train, val = spare_some(draw(part, LABELLED, balanced=True, seed=seed), seed)
    copy = deepcopy(trunk)
    copy.out_head = nn.Linear(copy.emb_dim, len(labels))
    with torch.no_grad():
        for weight in copy.out_head.parameters():
            weight.zero_()
    config = settings_for(MINI, seed=seed, **WAYS[way])
    start = Base(MINI, copy, encode, None)
    made = fine_tune_on(start, train, val, labels, config, about={})
    figures = evaluate(made.classifier, [messages[row] for row in split.test]).metrics
    return {"seed": seed, "accuracy": figures.accuracy.value, "auc": figures.figures["auc"]}


def classified(trunk, encode, messages, split, seed):
    draws = [DRAWS * seed + number for number in range(DRAWS)]
    return {
        "regression": [
            classify(trunk, encode, messages, split, "regression", each) for each in draws
        ],
        "all layers": [classify(trunk, encode, messages, split, "all layers", draws[0])],
    }


def counted(documents):
    """The held-out loss in nats of a table of how often each token came, context aside."""
    train, held_out = (
        np.concatenate(pack(texts, encode, END_OF_TEXT, 64).following)
        for texts in (documents.train, documents.held_out)
    )
    counts = np.bincount(train, minlength=END_OF_TEXT + 1) + ADDED
    return float(-np.log(counts[held_out] / counts.sum()).mean())


def draw_figure(records, path):
    """Loss by step beside accuracy with few labels, before and after."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    runs = [record for record in records if "losses" in record]
    for number, run in enumerate(runs):
        steps = [0, *(each["step"] for each in run["train"]["history"])]
        losses = [
            run["held_out"]["before"]["loss"],
            *(each["val_loss"] for each in run["train"]["history"]),
        ]
        named = number == 0
        left.plot(
            range(1, len(run["losses"]) + 1), run["losses"], color=TRAINING.color, alpha=0.6,
            label="training" if named else None,
        )  # fmt: skip
        left.plot(
            steps, losses, VALIDATION.line, color=VALIDATION.color, marker=VALIDATION.marker,
            label="held out" if named else None,
        )  # fmt: skip
    (counting,) = (record["loss"] for record in records if record["start"] == COUNTING)
    levels = {"all tokens alike": np.log(END_OF_TEXT + 1), "counting tokens": counting}
    for (name, level), place in zip(levels.items(), ("bottom", "top"), strict=True):
        left.axhline(level, color="0.4", linewidth=1, linestyle=":")
        left.text(len(runs[0]["losses"]), level, name, ha="right", va=place, color="0.3")
    left.set(xlabel="step", ylabel="loss (nats a token)", title="Predicting the next token")
    left.legend(loc="upper right", bbox_to_anchor=(1, 0.85))
    for place, way in enumerate(WAYS):
        for run in runs:
            (before,) = (
                record["classified"][way] for record in records
                if record["start"] == AS_IT_IS and record["seed"] == run["seed"]
            )  # fmt: skip
            for one, other in zip(before, run["classified"][way], strict=True):
                right.plot(
                    [place - 0.15, place + 0.15], [100 * one["accuracy"], 100 * other["accuracy"]],
                    color=TRAINING.color, marker="o", alpha=0.6,
                )  # fmt: skip
    right.set_xticks(range(len(WAYS)), [f"{way}\nbefore → after" for way in WAYS])
    right.set(
        xlim=(-0.5, len(WAYS) - 0.5), ylabel="accuracy (%)", title=f"Classifying, {LABELLED} labels"
    )
    save_figure(figure, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/records/pretraining.jsonl"))
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    whole = sample_messages()
    messages, split = whole.examples, whole.split()
    documents = documents_of(whole)
    done = {(record["start"], record["seed"]) for record in open_lines(options.out)}
    if (COUNTING, None) not in done:
        record = {"start": COUNTING, "seed": None, "data": whole.name, "loss": counted(documents)}
        append_lines(options.out, [{**record, **about_this_run()}])
    for seed in range(options.seeds):
        for learns in (False, True):
            start = CONTINUED if learns else AS_IT_IS
            if (start, seed) in done:
                continue
            base = load_writing_base(MINI)
            record = {"start": start, "seed": seed, "base": MINI, "data": whole.name}
            if learns:
                config = pretraining_settings(MINI, seed=seed, **PRETRAINING)
                losses = []
                made = pretrain(
                    MINI, documents, config, on_step=lambda step, to=losses: to.append(step.loss)
                )
                base = made.model
                about = {
                    name: made.about[name] for name in ("train", "block", "held_out", "weights")
                }
                record |= {**about, "tokens": made.about["data"]["tokens"], "losses": losses}
                record["seconds"] = made.about["seconds"]
            record["labels"] = LABELLED
            record["classified"] = classified(base.trunk, base.encode, messages, split, seed)
            append_lines(options.out, [{**record, **about_this_run()}])
            print(start, seed, record["classified"], record.get("held_out"), flush=True)
    if options.figure:
        draw_figure(open_lines(options.out), options.figure)


if __name__ == "__main__":
    run_app(main)
