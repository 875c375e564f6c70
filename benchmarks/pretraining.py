"""What next-token training on the messages of a task does, to perplexity and to classification.

    python benchmarks/pretraining.py [--seeds N] [--out FILE]

Each seed is two records: gpt2-mini's trunk as it is, and after one pass of learning to predict the
tokens of the sample's training messages, without their labels. Both are then classifiers in two
ways: a logistic regression on their vectors, and all layers fine-tuned; each with the same 32
labelled messages of the training part, and judged on the test part, which nothing has read. Records
that are there already are not made again.
"""

import argparse
from copy import deepcopy
from pathlib import Path

import torch
from torch import nn

from clfcore.cli.terminal import run_app
from clfcore.data.draw import draw
from clfcore.data.messages import sample_messages
from clfcore.data.split import spare_some
from clfcore.evaluation.evaluate import evaluate
from clfcore.evaluation.provenance import about_this_run
from clfcore.evaluation.records import append_lines, open_lines
from clfcore.model.spec import MINI
from clfcore.pretraining.documents import documents_of
from clfcore.pretraining.language_model import load_writing_base
from clfcore.pretraining.recipe import pretrain
from clfcore.pretraining.settings import pretraining_settings
from clfcore.training.recipe import fine_tune_on
from clfcore.training.settings import settings_for
from clfcore.weights.bases import Base

LABELLED = 32
AS_IT_IS, CONTINUED = "gpt2-mini", "gpt2-mini, continued"
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/records/pretraining.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    whole = sample_messages()
    messages, split = whole.examples, whole.split()
    documents = documents_of(whole)
    done = {(record["start"], record["seed"]) for record in open_lines(options.out)}
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


if __name__ == "__main__":
    run_app(main)
