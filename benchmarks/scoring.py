"""How fast a language model scores labels: one line per figure, with its goal and its peer.

    python benchmarks/scoring.py [--lm MODEL] [--json]

The peer is OpenICL's rule, in the same run and with the same model: one full prompt per label,
logits at all positions, nothing remembered. The two take turns; values are medians over queries.
"""

import argparse
import statistics
import time
from functools import partial

import numpy as np
import torch

from clfcore.cli.terminal import run_app
from clfcore.data.messages import sample_messages
from clfcore.evaluation.provenance import machine_name
from clfcore.json_text import to_json
from icl.lm.local import LocalLM
from icl.pool.embed import SentenceEmbedder
from icl.pool.pool import Pool
from icl.prompt.prompt import build_prompt
from icl.prompt.tasks import TASKS
from icl.prompt.template import Demonstration
from icl.reader import PromptReader
from icl.selectors.mdl import MDL, entropy

LABELS = [" ham", " spam"]
QUERIES = 9
K = 8
MDL_QUERIES = 5
MDL_K = 4


def one_prompt_per_label(lm, prompt):
    """OpenICL's ``PPLInferencer``: every token's loss, though only the label's is used."""
    start = lm.count_tokens(prompt)
    scores = []
    for label in LABELS:
        ids = torch.tensor(lm._tokenizer(prompt + label)["input_ids"], device=lm._device)
        with torch.inference_mode():
            logits = lm._model(input_ids=ids[None], use_cache=False).logits[0]
            losses = torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none")
        scores.append(-float(losses[start - 1 :].sum()))
    return scores


def compare(queries, *ways):
    """The median seconds a query takes in each of the ways, which must agree."""
    seconds = [[] for _ in ways]
    for query in queries:
        answers = []
        for way, times in zip(ways, seconds, strict=True):
            start = time.perf_counter()
            answers.append(way(query))
            times.append(time.perf_counter() - start)
        np.testing.assert_allclose(*answers, atol=1e-3)
    return [statistics.median(times) for times in seconds]


def figures(lm):
    rng = np.random.default_rng(0)
    examples = sample_messages().examples
    rows = rng.permutation(len(examples))
    asked = [examples[row].text for row in rows[:QUERIES]]
    pool = Pool.build([examples[row] for row in rows[QUERIES:]], SentenceEmbedder())
    template = TASKS["sms_spam"].template

    def some_rows():
        return rng.choice(len(pool.texts), K, replace=False)

    def render(shown, query):
        return template.render(
            [Demonstration(pool.texts[row], pool.labels[row], None, int(row)) for row in shown],
            query,
        )

    def ours(prompt):
        return lm.read(prompt, LABELS).totals

    def theirs(prompt):
        return one_prompt_per_label(lm, prompt)

    compare([render(some_rows(), "a warm-up")], ours, theirs)

    prompts = [render(some_rows(), text) for text in asked]
    yield f"score a query, its own {K} examples", 2, *compare(prompts, ours, theirs)

    fixed = some_rows()
    ours(render(fixed, "the examples are read once"))
    prompts = [render(fixed, text) for text in asked]
    yield f"score a query, {K} fixed examples", 8, *compare(prompts, ours, theirs)

    mdl, tried = MDL(), {}
    build = partial(
        build_prompt, template, count_tokens=lm.count_tokens, max_tokens=lm.prompt_limit()
    )
    mdl.fit(pool, PromptReader(template, pool, lm, build, template.words_for))
    vectors = dict(zip(asked, SentenceEmbedder().embed(asked), strict=True))

    def our_lengths(text):
        tried[text] = mdl.organisations(text, vectors[text], MDL_K)
        return [organisation.code_length for organisation in tried[text]]

    def their_lengths(text):
        scores = [theirs(render(organisation.rows, text)) for organisation in tried[text]]
        return [entropy(np.array(each)) for each in scores]

    name = f"mdl, {mdl.trials} lists of {MDL_K} examples for a query"
    yield name, 3, *compare(asked[:MDL_QUERIES], our_lengths, their_lengths)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lm", help="folder, GGUF file or Hugging Face name; else SmolLM2")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    for name, faster, ours, theirs in figures(LocalLM(arguments.lm)):
        record = {
            "name": f"{name} (peer: OpenICL's rule, at least {faster} times)",
            "value": round(ours, 4),
            "unit": "s",
            "goal": round(theirs / faster, 4),
            "ok": ours <= theirs / faster,
            "peer": round(theirs, 4),
            "machine": machine_name(),
        }
        if arguments.json:
            print(to_json(record), flush=True)
        else:
            times = f"{theirs / ours:.1f} times"
            print(f"{name:45} {ours:7.3f} s   peer: {theirs:7.3f} s, {times}", flush=True)


if __name__ == "__main__":
    run_app(main)
