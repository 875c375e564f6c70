"""How fast the fine-tuned side answers, beside the book's one-by-one function in the same run.

    python benchmarks/finetune.py [--json]

The peer is ``classify_review`` of the package ``llms-from-scratch`` on a model of the same shape:
the same number of layers and the same width, every message padded to 120 tokens.
"""

import argparse
import json
import statistics
import time

import torch
from llms_from_scratch.ch04 import GPTModel as BookGPT
from llms_from_scratch.ch06 import classify_review

from clfcore.data import sample_messages
from clfcore.predict import FineTuned
from clfcore.tokenizer import gpt2_encoding


def milliseconds(work, repeats):
    """Median wall-clock time of ``work()``."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def figures():
    mini = FineTuned.load()
    book = BookGPT(mini.meta.model.to_dict())
    book.out_head = torch.nn.Linear(mini.meta.model.emb_dim, 2)
    book.eval()
    encoding = gpt2_encoding()
    texts = [example.text for example in sample_messages().examples]
    thousand = (texts * 2)[:1000]

    one = milliseconds(lambda: mini.predict([texts[0]]), 50)
    peer = milliseconds(lambda: classify_review(texts[0], book, encoding, "cpu", 120), 50)
    yield "one message, p50", one, "ms", 30, one <= 30, peer

    batch = milliseconds(lambda: mini.predict(thousand), 3)
    sample = milliseconds(
        lambda: [classify_review(t, book, encoding, "cpu", 120) for t in thousand[:100]], 1
    )
    ratio = sample * 10 / batch  # the peer's cost is the same for every message: all are padded
    yield "1,000 messages in batches, times faster", ratio, "x", 4, ratio >= 4, 1.0
    tokens = sum(len(encoding.encode_ordinary(text)) for text in thousand)
    yield "tokens a second", tokens / batch * 1000, "tokens/s", None, None, None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    for name, value, unit, goal, ok, peer in figures():
        record = {"name": name, "value": round(value, 3), "unit": unit, "goal": goal, "ok": ok,
                  "peer": peer and round(peer, 3)}  # fmt: skip
        print(json.dumps(record) if as_json else "  ".join(map(str, record.values())))


if __name__ == "__main__":
    main()
