"""How fast the selectors are, and how large a pool may be: one line per figure, with its goal.

    python benchmarks/selection.py [--pool FILE] [--json] [corpus] [million] [graph]

Each part runs in its own process. ``corpus``: the whole SMS corpus, 256 of its messages as
queries, one thread; vote-k beside the same vote written with networkx on the same graph, BM25
beside ``rank_bm25`` where it is installed. ``million`` and ``graph``: the corpus' vectors drawn
again and again, plus noise of half their length; two threads, a few minutes.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import networkx as nx
import numpy as np

from clfcore.cli.terminal import run_app
from clfcore.data.messages import load_messages
from clfcore.evaluation.provenance import machine_name
from clfcore.json_text import to_json
from icl.pool.embed import SentenceEmbedder
from icl.pool.index import ExactIndex, knn_graph
from icl.pool.pool import Pool
from icl.selectors.diverse import Facility
from icl.selectors.lexical import BM25, words
from icl.selectors.similar import TopK
from icl.selectors.votek import VoteK, discounted_vote

QUERIES = 256
K = 8
NOISE = 0.5
GB = 1e9


def seconds(work, repeats=1):
    """The median of ``repeats`` runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


# --- the corpus ---------------------------------------------------------------------------------


def corpus(pool):
    rows = np.random.default_rng(0).choice(len(pool), QUERIES, replace=False)
    texts, vectors = [pool.texts[row] for row in rows], pool.vectors[rows]
    size = f"{len(pool):,} messages, {QUERIES} queries"

    def run(selector):
        return selector.fit(pool).select(texts, vectors, K)

    run(TopK())  # whatever is computed once for a pool
    yield f"top-{K} of {size}", seconds(lambda: run(TopK()), 7), "s", 0.05, None
    ours = seconds(lambda: run(BM25()), 3)
    yield f"BM25 of {size}", ours, "s", 0.2, okapi_seconds(pool.texts, texts)
    yield f"facility location of {size}", seconds(lambda: run(Facility())), "s", 1.0, None

    voters = VoteK(neighbours=150)
    ours = seconds(lambda: run(voters))
    graph = seconds(lambda: knn_graph(pool.vectors[voters.nodes], 150))
    theirs = graph + seconds(lambda: networkx_votes(voters.edges, voters.annotate, voters.rho))
    yield f"vote-k of {size}, M=100, k=150 (peer: networkx)", ours, "s", 1.5, theirs


def networkx_votes(edges, count, rho):
    """The paper's vote as its formula reads; a tie goes to the most votes, then the lower row."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(edges)))
    graph.add_edges_from(
        (row, other) for row, others in enumerate(edges.tolist()) for other in others
    )
    picks = []
    left = sorted(graph, key=lambda node: -graph.in_degree(node))
    for _ in range(count):
        worth = {node: rho ** -sum(graph.has_edge(node, pick) for pick in picks) for node in left}
        picks.append(
            max(left, key=lambda node: sum(worth.get(v, 0.0) for v in graph.predecessors(node)))
        )
        left.remove(picks[-1])
    return picks


def okapi_seconds(pool_texts, texts):
    if importlib.util.find_spec("rank_bm25") is None:
        return None
    from rank_bm25 import BM25Okapi

    def run():
        index = BM25Okapi([words(text) for text in pool_texts])
        return [np.argsort(-index.get_scores(words(text)))[:K] for text in texts]

    return seconds(run)


# --- large pools --------------------------------------------------------------------------------


def noisy(vectors, size, seed):
    """(size,) drawn rows and (size, d) float32: these rows plus noise, made length 1 again."""
    draws = np.random.default_rng(seed)
    rows = draws.integers(len(vectors), size=size)
    many = np.empty((size, vectors.shape[1]), np.float32)
    for start in range(0, size, 10_000):
        part = many[start : start + 10_000]
        draws.standard_normal(out=part, dtype=np.float32)
        part *= NOISE / vectors.shape[1] ** 0.5
        part += vectors[rows[start : start + 10_000]]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows, many


def million(pool, size=1_000_000):
    rows, vectors = noisy(pool.vectors, size, seed=1)
    texts = tuple(f"{pool.texts[row]} {number}" for number, row in enumerate(rows))
    labels = tuple(pool.labels[row] for row in rows)
    large = Pool(texts, labels, vectors, np.arange(size))
    _, queries = noisy(pool.vectors, QUERIES, seed=2)
    selector = TopK()
    yield f"index {size:,} messages", seconds(lambda: selector.fit(large)), "s", 300, None
    selector.select(["new"], queries[:1], K)

    one_by_one = iter(queries)
    found = []
    yield (
        f"top-{K} of {size:,} messages, one query, p50",
        seconds(lambda: found.extend(selector.select(["new"], next(one_by_one)[None], K)), QUERIES),
        "s", 0.03, None,
    )  # fmt: skip
    yield f"top-{K} of {size:,} messages, peak memory", peak_memory() / GB, "GB", 2.5, None
    missed = [
        np.mean(~np.isin(nearest_of_each_label(vectors @ query, labels), selection.rows))
        for query, selection in zip(queries[:64], found, strict=False)
    ]
    name = f"top-{K} of {size:,} messages, share of the exact answer missed"
    yield name, float(np.mean(missed)), "", 0.01, None


def nearest_of_each_label(similarity, labels):
    labels = np.array(labels)
    rows = [np.flatnonzero(labels == label) for label in set(labels.tolist())]
    return np.concatenate([own[np.argsort(-similarity[own])[:K]] for own in rows])


def peak_memory():
    """Bytes, the most this process has held."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def graph(pool, size=100_000):
    _, vectors = noisy(pool.vectors, size, seed=1)
    sample = np.arange(0, size, size // 250)
    nearest, _ = ExactIndex(vectors, np.arange(size)).search(vectors[sample], 151)
    for k in (30, 150):
        edges = []
        finding = seconds(lambda k=k, edges=edges: edges.append(knn_graph(vectors, k)))
        counting = seconds(lambda edges=edges: discounted_vote(edges[0], 100))
        yield f"vote-k of {size:,}, M=100, k={k}", finding + counting, "s", 120, None
        missed = [
            np.isin(right[1 : k + 1], edges[0][row], invert=True)
            for row, right in zip(sample, nearest, strict=True)
        ]
        yield f"neighbours missed in that graph, k={k}", float(np.mean(missed)), "", 0.05, None


PARTS = {"corpus": (corpus, 1), "million": (million, 2), "graph": (graph, 2)}  # threads


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=f"default: {' '.join(PARTS)}")
    parser.add_argument("--pool", type=Path, help="labelled messages; default: the SMS corpus")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    parts = arguments.parts or list(PARTS)
    threads = [str(PARTS[part][1]) for part in parts]
    if len(parts) > 1 or os.environ.get("OMP_NUM_THREADS") != threads[0]:
        flags = [flag for flag in sys.argv[1:] if flag not in PARTS]
        for part, count in zip(parts, threads, strict=True):  # numpy reads the count at its import
            environment = os.environ | {"OMP_NUM_THREADS": count}
            done = subprocess.run([sys.executable, __file__, part, *flags], env=environment)
            if done.returncode:  # it has said why
                raise SystemExit(done.returncode)
        return
    examples = load_messages(arguments.pool).examples
    pool = Pool.build(examples, SentenceEmbedder())
    for name, value, unit, goal, peer in PARTS[parts[0]][0](pool):
        record = {
            "name": name,
            "value": round(value, 4),
            "unit": unit,
            "goal": goal,
            "ok": value <= goal,
            "peer": None if peer is None else round(peer, 4),
            "machine": machine_name(),
        }
        if arguments.json:
            print(to_json(record), flush=True)
        else:
            beside = "" if peer is None else f"   peer: {peer:.3f} {unit}"
            print(f"{name:64} {value:8.3f} {unit}   goal: {goal:.3f} {unit}{beside}", flush=True)


if __name__ == "__main__":
    run_app(main)
