"""How fast fine-tuning is, and the fine-tuned side's answers, beside the book's code in one run.

    python benchmarks/finetune.py [--json]

The peer is the package ``llms-from-scratch`` (chapter 6): batch 8, every message padded to the
longest of the training set, on a model of the same shape with random weights. A step of the peer
costs the same wherever it is taken, so its five epochs are extrapolated from 20 of its steps; ours
run whole where the table says so. The book's modules are imported where they are used, so that of
the two processes whose memory is compared, each loads its own. Needs ``clf data fetch``; about six
minutes on two cores.
"""

import argparse
import contextlib
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from clfcore.cli.terminal import run_app
from clfcore.data.messages import load_messages, sample_messages
from clfcore.errors import TuneshotError
from clfcore.evaluation.provenance import machine_name
from clfcore.fine_tuned import FineTuned
from clfcore.json_text import to_json
from clfcore.model.batching import Encoded
from clfcore.model.classifier import TextClassifier
from clfcore.model.gpt import GPTModel
from clfcore.model.precision import resolve
from clfcore.model.spec import END_OF_TEXT, GPT_PRESETS, Reading
from clfcore.model.tokenizer import encode, gpt2_encoding
from clfcore.model.trainable import freeze_all_but
from clfcore.training.classification import fit
from clfcore.training.frozen import ActivationCache
from clfcore.training.settings import TrainConfig
from clfcore.weights.meta import Meta

GPT2 = GPT_PRESETS["gpt2"]
EPOCHS, BATCH, PEER_STEPS, OUR_STEPS = 5, 8, 20, 40
CPU = torch.device("cpu")


# --- the same work for both ---------------------------------------------------------------------


def lecture_messages() -> Encoded:
    """The lecture's training set: as much ham as spam, 70 % of it; 1,045 messages."""
    source = load_messages()
    if source.name != "SMS Spam Collection":
        raise TuneshotError("the corpus is missing; run: clf data fetch")
    labels = np.array([int(example.label == "spam") for example in source.examples])
    rng, spam = np.random.default_rng(123), np.flatnonzero(labels)
    ham = rng.choice(np.flatnonzero(labels == 0), len(spam), replace=False)
    chosen = rng.permutation([*spam, *ham])[: int(0.7 * 2 * len(spam))]
    return Encoded(
        [encode(source.examples[i].text) for i in chosen], [int(labels[i]) for i in chosen]
    )


def ours(layers: str, seed: int = 0) -> TextClassifier:
    torch.manual_seed(seed)
    model = TextClassifier(GPTModel(GPT2, num_classes=2), Reading())
    freeze_all_but(model.trunk, layers)
    return model


def peer(layers: str) -> torch.nn.Module:
    from llms_from_scratch.ch04 import GPTModel as BookGPT

    torch.manual_seed(0)
    model = BookGPT(GPT2.to_dict())
    model.out_head = torch.nn.Linear(GPT2.emb_dim, 2)
    model.requires_grad_(layers == "all")
    for part in (model.trf_blocks[-1], model.final_norm, model.out_head):
        part.requires_grad_(True)
    return model.train()


def peer_batches(data: Encoded, width: int):
    """Batches as the book's data loader makes them: shuffled, all padded to one width."""
    order = np.random.default_rng(0).permutation(len(data.labels))
    for start in itertools.cycle(range(0, len(order) - BATCH, BATCH)):
        rows = order[start : start + BATCH]
        ids = [data.tokens[i] + [END_OF_TEXT] * (width - len(data.tokens[i])) for i in rows]
        yield torch.tensor(ids), torch.tensor([data.labels[i] for i in rows])


def peer_seconds_a_step(data: Encoded, layers: str, steps: int) -> float:
    """Mean wall-clock seconds of the book's optimiser step."""
    from llms_from_scratch.ch06 import calc_loss_batch

    model = peer(layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.1)
    batches, start = peer_batches(data, max(map(len, data.tokens))), 0.0
    for step in range(steps + 2):
        if step == 2:  # the first ones allocate
            start = time.perf_counter()
        optimizer.zero_grad()
        loss = calc_loss_batch(*next(batches), model, "cpu")
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - start) / steps


def steps_of(data: Encoded) -> int:
    return EPOCHS * -(-len(data.labels) // BATCH)


def lecture_config(layers: str, **more) -> TrainConfig:
    return TrainConfig(layers=layers, balance="none", epochs=EPOCHS, batch_size=BATCH, **more)


# --- training -----------------------------------------------------------------------------------


def last_block(data: Encoded, val: Encoded):
    """Five whole epochs of ours, frozen pass included."""
    start = time.perf_counter()
    losses: list[float] = []
    fit(
        ours("last_block"), data, val, lecture_config("last_block"), lambda s: losses.append(s.loss)
    )
    seconds = time.perf_counter() - start
    peer_total = peer_seconds_a_step(data, "last_block", PEER_STEPS) * steps_of(data)
    yield (
        "train the last block, 5 epochs, times faster",
        peer_total / seconds,
        "x",
        15,
        1.0,
        "least",
    )
    yield "train the last block, 5 epochs", seconds, "s", None, peer_total, "most"
    yield (
        "largest distance from the uncached fp32 loss curve",
        _distance(data, losses),
        "nats",
        0.05,
        None,
        "most",
    )


def _distance(data: Encoded, losses: Sequence[float]) -> float:
    """Against one epoch without cache, in float32, from the same start in the same order."""
    exact: list[float] = []
    config = lecture_config("last_block", precision="float32")
    fits, ActivationCache.fits_in_memory = (
        ActivationCache.fits_in_memory,
        staticmethod(lambda *_: False),
    )
    try:
        fit(ours("last_block"), data, Encoded(data.tokens[:8], data.labels[:8]), config,
            lambda step: _until(exact, step.loss, len(losses) // EPOCHS))  # fmt: skip
    except StopIteration:
        pass
    finally:
        ActivationCache.fits_in_memory = fits
    return max(abs(a - b) for a, b in zip(exact, losses, strict=False))


def _until(losses: list[float], loss: float, count: int) -> None:
    losses.append(loss)
    if len(losses) == count:
        raise StopIteration


def all_layers(data: Encoded):
    """The mean of 40 of our steps, which are of all lengths; extrapolated like the peer's."""
    times: list[float] = []
    with contextlib.suppress(StopIteration):
        fit(
            ours("all"),
            data,
            Encoded(data.tokens[:8], data.labels[:8]),
            lecture_config("all"),
            lambda step: _until(times, time.perf_counter(), OUR_STEPS + 2),
        )
    step = (times[-1] - times[1]) / (len(times) - 2)
    peer_step = peer_seconds_a_step(data, "all", PEER_STEPS)
    yield "train all layers, 5 epochs, times faster", peer_step / step, "x", 4, 1.0, "least"
    yield (
        "train all layers, 5 epochs",
        step * steps_of(data),
        "s",
        None,
        peer_step * steps_of(data),
        "most",
    )


def memory():
    """Peak memory of two processes that do nothing else."""
    own, book = (_peak_of(who) for who in ("ours", "peer"))
    yield "memory of last-block training, share of the peer's", own / book, "", 0.6, 1.0, "most"
    yield "memory of last-block training, peak", own, "MB", None, book, "most"


def _peak_of(who: str) -> float:
    program = [sys.executable, __file__, "--only-train", who]
    return float(subprocess.run(program, capture_output=True, text=True, check=True).stdout)


def only_train(who: str) -> None:
    """Trains the last block and prints this process' peak memory in MB."""
    data = lecture_messages()
    if who == "peer":
        peer_seconds_a_step(data, "last_block", 8)
    else:
        val = Encoded(data.tokens[:100], data.labels[:100])
        fit(ours("last_block"), data, val, lecture_config("last_block"))
    # Not getrusage's: a process inherits that one from its parent.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(int(status.split("VmHWM:")[1].split()[0]) / 1000)


def growth():
    """Seconds an epoch of gpt2-mini, all layers, over data and length; exponent 1 is linear."""
    texts = [encode(example.text) for example in load_messages().examples]
    sizes, by_size = (1000, 4000, 16000), []
    for size in sizes:
        tokens = list(itertools.islice(itertools.cycle(texts), size))
        by_size.append(_epoch(tokens))
        yield f"an epoch of {size:,} messages", by_size[-1], "s", None, None, "most"
    yield "growth with data, exponent", _exponent(sizes, by_size), "", 1.1, None, "most"
    lengths, by_length = (32, 64, 128, 256), []
    for length in lengths:
        by_length.append(_epoch([[7] * length] * 512))
        yield f"an epoch of 512 messages of {length} tokens", by_length[-1], "s", None, None, "most"
    yield "growth with length, exponent", _exponent(lengths, by_length), "", 1.1, None, "most"


def _epoch(tokens: list[list[int]]) -> float:
    torch.manual_seed(0)
    mini = TextClassifier(GPTModel(GPT_PRESETS["gpt2-mini"], 2), Reading())
    cut = [ids[:256] for ids in tokens]
    data = Encoded(cut, [i % 2 for i in range(len(cut))])
    config = TrainConfig(layers="all", balance="none", epochs=1, batch_size=32)
    start = time.perf_counter()
    fit(mini, data, Encoded(cut[:1], [0]), config)
    return time.perf_counter() - start


def _exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


# --- answering ----------------------------------------------------------------------------------


def milliseconds(work, repeats):
    """Median wall-clock time of ``work()``."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def matrix_peak() -> float:
    """Floating-point operations a second of a large float32 product on this machine."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return 2 * 2048**3 / (milliseconds(lambda: a @ b, 10) / 1000)


def answers():
    from llms_from_scratch.ch04 import GPTModel as BookGPT
    from llms_from_scratch.ch06 import classify_review

    mini = FineTuned.load()
    torch.manual_seed(0)
    small = TextClassifier(GPTModel(GPT2, 2), Reading())
    models = {
        "gpt2-mini": mini,
        "GPT-2 124M": FineTuned(small, Meta("gpt2", ("ham", "spam"), GPT2)),
    }
    texts = [example.text for example in sample_messages().examples]
    thousand = (texts * 2)[:1000]
    encoding = gpt2_encoding()
    tokens = sum(len(encoding.encode_ordinary(text)) for text in thousand)
    peak = matrix_peak()
    for name, model in models.items():
        cfg = model.model.trunk.cfg
        book = BookGPT(cfg.to_dict())
        book.out_head = torch.nn.Linear(cfg.emb_dim, 2)
        book.eval()

        def one_by_one(texts, book=book):
            return [classify_review(text, book, encoding, "cpu", 120) for text in texts]

        if name == "gpt2-mini":
            one = milliseconds(lambda m=model: m.predict([texts[0]]), 50)
            yield (
                "one message, p50",
                one,
                "ms",
                30,
                milliseconds(lambda: one_by_one(texts[:1]), 50),
                "most",
            )
        batch = milliseconds(lambda m=model: m.predict(thousand), 1)
        # The peer's cost is the same for every message: all are padded.
        book_batch = milliseconds(lambda: one_by_one(thousand[:50]), 1) * 20
        yield (
            f"1,000 messages in batches, {name}, times faster",
            book_batch / batch,
            "x",
            4,
            1.0,
            "least",
        )
        yield f"tokens a second, {name}", tokens / batch * 1000, "tokens/s", None, None, "least"
        # All blocks for every token but the last block, which is computed at one position.
        block = 2 * 12 * cfg.emb_dim**2  # operations in a block's matrices, for one position
        work = block * (tokens * (cfg.n_layers - 1) + len(thousand))
        share = work / (batch / 1000) / peak
        yield f"share of the matrix peak, {name}", share, "", None, None, "least"


def figures():
    data = lecture_messages()
    print(f"precision auto: {resolve('auto', CPU)}", file=sys.stderr)
    yield from answers()
    yield from last_block(data, Encoded(data.tokens[:149], data.labels[:149]))
    yield from all_layers(data)
    yield from memory()
    yield from growth()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only-train", choices=["ours", "peer"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only_train:
        only_train(options.only_train)
        return
    for name, value, unit, goal, peer_value, better in figures():
        ok = None if goal is None else bool(value >= goal if better == "least" else value <= goal)
        record = {"name": name, "value": round(value, 3), "unit": unit, "goal": goal, "ok": ok,
                  "peer": peer_value and round(peer_value, 3),
                  "machine": machine_name()}  # fmt: skip
        print(to_json(record) if options.json else "  ".join(map(str, record.values())), flush=True)


if __name__ == "__main__":
    run_app(main)
