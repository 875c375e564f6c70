"""What fewer bits save: one line per figure, with its goal and its peer.

    python benchmarks/quantization.py [--only speed|memory|loss] [--json]

Speed: a batch of messages through the shape of GPT-2 124M, 8-bit products against float32 in the
same run, by PyTorch itself with each of its engines, and by torchao where it is installed. Memory
and loss: SmolLM2 under QLoRA against LoRA, each in a process of its own. Memory is the largest the
process ever had, without what it had after it tuned a tiny model: imports and the interpreter.
"""

import argparse
import gc
import json
import subprocess
import sys
import time
import warnings
from importlib.util import find_spec

import numpy as np
import torch
from torch import nn

from clfcore.cli.terminal import run_app
from clfcore.config import DEFAULT_LM
from clfcore.data.messages import DataSource
from clfcore.evaluation.provenance import machine_name
from clfcore.json_text import to_json
from clfcore.model.gpt import GPTModel
from clfcore.model.spec import GPT_PRESETS
from clfcore.quantization.frozen import NF4Linear
from clfcore.training.instruction.model import LanguageModel, choose_weights
from clfcore.training.instruction.pairs import Pair, TargetTokens
from clfcore.training.instruction.recipe import load_network, tune_language_model
from clfcore.training.instruction.settings import instruction_settings
from clfcore.training.loop import learn
from clfcore.weights.language_model import CONFIG, load_transformer

WIDTH = 64  # tokens
BATCHES = (2, 4, 8)  # prompts
STEPS = 3
LEARNED, VALIDATED = 96, 48  # messages
PARTS = ("speed", "memory", "loss")


def row(name, value, unit, goal=None, ok=None, peer=None):
    """A figure; ``goal`` in words where it is no number."""
    return {"name": name, "value": value, "unit": unit, "goal": goal, "ok": ok, "peer": peer}


# --- speed --------------------------------------------------------------------------------------


def speed():
    torch.manual_seed(0)
    model = GPTModel(GPT_PRESETS["gpt2"], 2).eval()
    ids = torch.randint(0, 50_000, (16, 32))
    usual = torch.backends.quantized.engine
    ways = {}
    for engine in torch.backends.quantized.supported_engines:
        if engine not in ("none", "qnnpack"):  # qnnpack is for telephones
            torch.backends.quantized.engine = engine
            ways[f"torch, {engine}"] = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    torch.backends.quantized.engine = usual
    if find_spec("torchao"):
        ways["torchao"] = with_torchao()
    else:
        print("torchao is not installed, and left out", file=sys.stderr)
    for name, quantized in ways.items():
        float32, int8 = [], []
        for _ in range(4):  # by turns; the first are not counted
            float32.append(seconds(model, ids))
            int8.append(seconds(quantized, ids))
        faster = min(float32[1:]) / min(int8[1:])
        yield row(
            f"dynamic int8, 16 × 32 tokens, GPT-2 124M, {name}, times faster",
            faster, "x", 1.5, faster >= 1.5, 1.0,
        )  # fmt: skip


def with_torchao():
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    model = GPTModel(GPT_PRESETS["gpt2"], 2).eval()
    quantize_(model, Int8DynamicActivationInt8WeightConfig())
    return model


@torch.inference_mode()
def seconds(model, ids):
    start = time.perf_counter()
    model.hidden(ids)
    return time.perf_counter() - start


# --- memory -------------------------------------------------------------------------------------


def memory():
    for batch in BATCHES:
        lora, qlora = (in_a_process("memory", layers, batch) for layers in ("lora", "qlora"))
        if batch == BATCHES[0]:
            share = qlora["resident"] / lora["resident"]
            yield row("QLoRA, resident weights, share of float32's", share, "", 0.35, share <= 0.35)
            yield row("QLoRA, resident weights", qlora["resident"] / 1e6, "MB",
                      peer=lora["resident"] / 1e6)  # fmt: skip
        share, first = qlora["peak"] / lora["peak"], batch == BATCHES[0]
        name = f"QLoRA, peak of training, {batch} × {WIDTH} tokens"
        yield row(f"{name}, share of LoRA's", share, "", 0.6 if first else None,
                  share <= 0.6 if first else None)  # fmt: skip
        yield row(name, qlora["peak"] / 1e6, "MB", peer=lora["peak"] / 1e6)
        yield row(f"QLoRA, a step of {batch} × {WIDTH} tokens, processor time", qlora["cpu"], "s",
                  peer=lora["cpu"])  # fmt: skip


def memory_of(layers, batch):
    import transformers

    def train(network, tokens, steps):
        config = instruction_settings(layers=layers, batch_size=batch, epochs=1, keep="last")
        model = LanguageModel(network)
        choose_weights(model, config, steps)
        draw = np.random.default_rng(0).integers
        pairs = [Pair(tuple(draw(0, tokens, WIDTH - 1).tolist()), (28 + row % 2, 4))
                 for row in range(batch * steps)]  # fmt: skip
        objective = TargetTokens(model, pairs, pairs[:1], config, torch.device("cpu"))
        learn(model, objective, config)
        return model

    torch.set_num_threads(1)
    shape = transformers.LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2,
    )  # fmt: skip
    train(transformers.LlamaForCausalLM(shape).eval(), 60, 1)
    load_transformer(DEFAULT_LM, CONFIG)
    gc.collect()
    before = from_status("VmRSS")
    _, network = load_network(DEFAULT_LM, instruction_settings(layers=layers))
    begin = time.process_time()
    model = train(network, 49_000, STEPS)
    cpu = (time.process_time() - begin) / STEPS
    frozen = {id(t): t.nbytes for t in (*model.parameters(), *model.buffers())
              if not t.requires_grad}  # fmt: skip
    assert (layers == "qlora") == any(isinstance(m, NF4Linear) for m in model.modules())
    return {"resident": sum(frozen.values()), "peak": from_status("VmHWM") - before, "cpu": cpu}


def from_status(name):
    """``VmRSS``, the memory there is now, or ``VmHWM``, the most ever; bytes, Linux only."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))


# --- loss ---------------------------------------------------------------------------------------


def loss():
    lora, qlora = (in_a_process("loss", layers, 4) for layers in ("lora", "qlora"))
    more = qlora["loss"] - lora["loss"]
    yield row(f"QLoRA, validation loss above LoRA's, {LEARNED} messages", more, "nats", 0.02,
              more <= 0.02)  # fmt: skip
    yield row("QLoRA, validation loss", qlora["loss"], "nats", peer=lora["loss"])


def loss_of(layers, batch):
    torch.set_num_threads(1)
    tokenizer, _ = load_transformer(DEFAULT_LM, CONFIG)
    messages = DataSource().load()
    split, rng = messages.split(0), np.random.default_rng(0)

    def tokens(text):
        return tuple(tokenizer(text, add_special_tokens=False).input_ids)

    def some(rows, count):
        """As many of each label."""
        examples = [messages.examples[row] for row in rng.permutation(sorted(rows)).tolist()]
        return [
            Pair(tokens(f"Message: {each.text[:160]}\nLabel:"), tokens(f" {label}\n"))
            for label in ("ham", "spam")
            for each in [each for each in examples if each.label == label][: count // 2]
        ]

    train, val = some(split.train, LEARNED), some(split.val, VALIDATED)
    config = instruction_settings(layers=layers, batch_size=batch, epochs=1, least_steps=1)
    return {"loss": tune_language_model(DEFAULT_LM, train, val, config).history[-1].val_loss}


# --- all ----------------------------------------------------------------------------------------


def in_a_process(part, layers, batch):
    words = [sys.executable, __file__, "--only", part, "--of", layers, "--batch", str(batch)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, help="a part; else all")
    parser.add_argument("--of", choices=("lora", "qlora"), help="measure this in this process")
    parser.add_argument("--batch", type=int, default=2, help="with --of: prompts in a pass")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.of:
        measure = {"memory": memory_of, "loss": loss_of}[arguments.only]
        print(json.dumps(measure(arguments.of, arguments.batch)))
        return
    parts = {"speed": speed, "memory": memory, "loss": loss}
    for part in PARTS if arguments.only is None else [arguments.only]:
        for figure in parts[part]():
            if arguments.json:
                print(to_json({**figure, "machine": machine_name()}), flush=True)
            else:
                goal = "" if figure["goal"] is None else f" (goal {figure['goal']:g})"
                print(f"{figure['name']}: {figure['value']:.4g} {figure['unit']}{goal}", flush=True)


if __name__ == "__main__":
    run_app(main)
