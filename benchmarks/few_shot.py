"""How fast the few-shot side is: one line per figure, with its goal or its peer.

    python benchmarks/few_shot.py [--pool FILE] [--json]

The pool defaults to what the chat would use. The peer of top-k is scikit-learn's exact
``NearestNeighbors``, asked one query at a time as OpenICL asks its index, in the same run.
"""

import argparse
import asyncio
import operator
import statistics
import subprocess
import sys
import time
from pathlib import Path

from sklearn.neighbors import NearestNeighbors

from clfcore.cli.terminal import run_app
from clfcore.config import DEFAULT_LM
from clfcore.data.messages import load_messages
from clfcore.data.split import grouped_stratified_split
from clfcore.evaluation.provenance import machine_name
from clfcore.json_text import to_json
from clfcore.types import Prediction
from icl.batch.read import Messages
from icl.batch.run import BatchRun
from icl.few_shot import FewShot
from icl.lm.open import open_lm
from icl.pool.embed import SentenceEmbedder
from icl.pool.pool import Pool
from icl.selectors.table import TopK
from icl.session.session import MethodResult
from icl.session.settings import Settings

QUERIES = 256
REPEATS = 15
COMPARED = 100  # messages read in both number formats


def seconds(work, repeats=1):
    """The median of ``repeats`` runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def fresh_process(program):
    """Seconds that ``program`` prints, measured in a new Python."""
    timed = (
        f"import time; start = time.perf_counter()\n{program}\nprint(time.perf_counter() - start)"
    )
    done = subprocess.run([sys.executable, "-c", timed], capture_output=True, check=True, text=True)
    return float(done.stdout)


async def answer_at_once(messages):
    """Asks two methods that cost nothing about every one of ``messages``."""
    answer = MethodResult(
        "few_shot", Settings(), prediction=Prediction("ham", {"ham": 1.0, "spam": 0.0}, 0.0)
    )

    async def ask(method, texts):
        return [answer] * len(texts)

    async def ignore(progress):
        pass

    await BatchRun(messages, ask, methods=("fine_tuned", "few_shot")).run(ignore)


def figures(pool_path):
    examples = load_messages(pool_path).examples
    split = grouped_stratified_split(examples)
    train = [examples[row] for row in split.train]
    queries = [examples[row].text for row in split.test]
    embedder, lm = SentenceEmbedder(), open_lm()
    pool = Pool.build(train, embedder)

    warm = seconds(lambda: Pool.build(train, embedder), repeats=5)
    yield f"load a remembered pool of {len(pool):,} messages", warm, "s", 0.5, None
    loading = fresh_process("from icl.lm.open import open_lm; open_lm()")
    yield "load the language model, imports included", loading, "s", 5.0, None
    for command, goal in (("icl", 6.0), ("clf", 2.5)):
        words = [Path(sys.executable).with_name(command), "classify", "win a prize"]
        cold = seconds(
            lambda words=words: subprocess.run(words, capture_output=True, check=True), 3
        )
        yield f"{command} classify of one message, a new process", cold, "s", goal, None

    few_shot = FewShot("sms_spam", lm=lm, embedder=embedder, k=4).fit(pool)
    few_shot.predict(queries[:2])
    answers = [few_shot.predict([text])[0] for text in queries[:REPEATS]]
    yield "classify one message, top-k, k=4, p50", statistics.median(
        answer.ms / 1000 for answer in answers
    ), "s", 0.7, None  # fmt: skip

    asked = queries[REPEATS : 2 * REPEATS]
    fixed = FewShot("sms_spam", "knn_prompting", lm=lm, embedder=embedder, k=4).fit(train[:32])
    fixed.predict(asked[:1])  # reads what all prompts begin with
    name = "classify one message after fixed examples, kNN prompting, p50"
    ms = statistics.median(answer.ms for answer in fixed.predict(asked))
    yield name, ms / 1000, "s", 0.133, None

    labels = {}
    for dtype in ("fp32", "bf16"):
        lm = open_lm(f"{dtype}:{DEFAULT_LM}")
        few_shot = FewShot("sms_spam", lm=lm, embedder=embedder, k=4).fit(pool)
        few_shot.predict(asked[:1])
        answers = few_shot.predict(queries[:COMPARED])
        labels[dtype] = [answer.label for answer in answers]
        ms = statistics.median(answer.ms for answer in answers)
        yield f"classify one message in {dtype}, p50", ms / 1000, "s", None, None
    changed = sum(map(operator.ne, *labels.values()))
    yield f"labels of {COMPARED} messages that bf16 changes", changed, "", None, None

    rows = tuple(f"message {number} about a prize" for number in range(10_000))
    asked = Messages(rows, tuple(range(len(rows))), None, ("ham", "spam"), empty=0)
    own = seconds(lambda: asyncio.run(answer_at_once(asked)))
    yield f"{len(rows):,} rows of a file, what is not the models' time", own, "s", 2.0, None

    texts = (queries * (QUERIES // len(queries) + 1))[:QUERIES]
    vectors = embedder.embed(texts)
    selector = TopK().fit(pool)
    index = NearestNeighbors(n_neighbors=4, algorithm="brute").fit(pool.vectors)
    ours = seconds(lambda: selector.select(texts, vectors, 4), repeats=5)
    theirs = seconds(lambda: [index.kneighbors(vector[None]) for vector in vectors], repeats=5)
    name = f"top-4 of {len(pool):,} for {QUERIES} queries (peer: scikit-learn)"
    yield name, ours, "s", theirs, theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pool", type=Path, help="labelled messages, split as for evaluation")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    for name, value, unit, goal, peer in figures(arguments.pool):
        record = {
            "name": name,
            "value": round(value, 4),
            "unit": unit,
            "goal": None if goal is None else round(goal, 4),
            "ok": goal is None or value <= goal,
            "peer": None if peer is None else round(peer, 4),
            "machine": machine_name(),
        }
        if arguments.json:
            print(to_json(record), flush=True)
        else:
            wanted = "" if goal is None else f"   goal: {goal:.3f} {unit}"
            print(f"{name:60} {value:8.3f} {unit}{wanted}", flush=True)


if __name__ == "__main__":
    run_app(main)
