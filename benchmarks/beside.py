"""Two programs on the same cores: what a training costs the answers beside it.

    python benchmarks/beside.py [--json]

Answers are timed alone, beside /train as the chat starts it, and beside a second program that
trains on all cores: with threads that wait as all programs here have them, and as OpenMP's do by
themselves, spinning.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from clfcore.cli.terminal import run_app
from clfcore.data.messages import sample_messages
from clfcore.evaluation.provenance import machine_name
from clfcore.json_text import to_json
from clfcore.training.background import BackgroundTraining

PASSIVE, ACTIVE = "PASSIVE", "ACTIVE"

# Prints a word when it has begun; ends with its parent's pipe.
NEIGHBOUR = """
import os, threading, torch
net = torch.nn.Sequential(*(torch.nn.Linear(768, 768) for _ in range(8)))
optimiser = torch.optim.AdamW(net.parameters())
rows = torch.randn(512, 768)
def step():
    optimiser.zero_grad(); net(rows).square().mean().backward(); optimiser.step()
step()
threading.Thread(target=lambda: (input(), os._exit(0)), daemon=True).start()
print("begun", flush=True)
while True:
    step()
"""

# Prints the 50th and the 95th percentile of an answer's time, in ms.
ANSWERS = """
import sys, time
import numpy as np
from clfcore.data.messages import sample_messages
examples = sample_messages().examples
if sys.argv[1] == "a prompt":
    from icl.few_shot import FewShot
    model, count = FewShot("sms_spam").fit(examples[40:]), 20
else:
    from clfcore.fine_tuned import FineTuned
    model, count = FineTuned.load(), 200
took = []
for example in (examples * 5)[: count + 3]:
    start = time.perf_counter()
    model.predict([example.text])
    took.append(1000 * (time.perf_counter() - start))
print(*np.quantile(took[3:], [0.5, 0.95]))
"""


def answers(kind, policy=PASSIVE):
    """Milliseconds of an answer in a new process: median and 95th percentile."""
    done = subprocess.run(
        [sys.executable, "-c", ANSWERS, kind], env=os.environ | {"OMP_WAIT_POLICY": policy},
        stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    return tuple(map(float, done.stdout.split()))


def beside_a_program(kind, policy):
    """The same beside a program that trains on all cores."""
    with subprocess.Popen(
        [sys.executable, "-c", NEIGHBOUR], env=os.environ | {"OMP_WAIT_POLICY": policy},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        program.stdout.readline()
        try:
            return answers(kind, policy)
        finally:
            program.communicate("end\n")


async def beside_train(kind):
    """The same while the chat's /train learns some messages."""
    with tempfile.TemporaryDirectory() as folder:
        training = await BackgroundTraining.start(
            sample_messages().examples[:8], Path(folder) / "trained"
        )
        answered = None
        async for _ in training.events():  # read to the end: nobody writes into a full pipe
            answered = answered or asyncio.create_task(asyncio.to_thread(answers, kind))
            if answered.done():
                await training.stop()
        assert answered is not None
        return await answered


def figures():
    for kind in ("a prompt", "a fine-tuned answer"):
        alone, alone_95 = answers(kind)
        yield f"{kind}, alone, p50", alone, None, None
        yield f"{kind}, alone, p95", alone_95, None, None
        goal = 3 * alone_95 if kind == "a fine-tuned answer" else None
        yield f"{kind}, /train beside it, p95", asyncio.run(beside_train(kind))[1], goal, None
        spinning, _ = beside_a_program(kind, ACTIVE)
        waiting, _ = beside_a_program(kind, PASSIVE)
        yield f"{kind}, a training on all cores beside it, p50", waiting, 3 * alone, spinning


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    as_json = parser.parse_args().json
    for name, value, goal, spinning in figures():
        record = {
            "name": name,
            "value": round(value, 1),
            "unit": "ms",
            "goal": None if goal is None else round(goal, 1),
            "ok": goal is None or value <= goal,
            "peer": None if spinning is None else round(spinning, 1),  # with threads that spin
            "machine": machine_name(),
        }
        if as_json:
            print(to_json(record), flush=True)
        else:
            wanted = "" if goal is None else f"   goal: {goal:.0f} ms"
            spun = "" if spinning is None else f"   spinning: {spinning:.0f} ms"
            print(f"{name:60} {value:8.1f} ms{wanted}{spun}", flush=True)


if __name__ == "__main__":
    run_app(main)
