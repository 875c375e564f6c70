"""Folders of sentence-transformers as a stranger might send them, by kind; see ``hostile.py``."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.support.hostile import (
    TERABYTE,
    WEIGHTS,
    Harm,
    Runs,
    config,
    cut,
    filled,
    instead,
    length,
    link_out,
    put,
    raw,
    sparse,
    weights,
)  # fmt: skip

MODULES, READING, DENSE = "modules.json", "sentence_bert_config.json", "2_Dense"
_WIDTH = 16


def good_embedder(folder: Path) -> Path:
    """Transformer, pooling, a matrix and unit length, as sentence-transformers would save them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    words = {word: row for row, word in enumerate(["[PAD]", "[UNK]", "hi", "there"])}
    tokenizer = Tokenizer(models.WordLevel(words, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    sizes = BertConfig(
        vocab_size=len(words), hidden_size=_WIDTH, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=8,
    )  # fmt: skip
    BertModel(sizes).save_pretrained(folder)
    put(folder / READING, json.dumps({"max_seq_length": 8, "do_lower_case": False}))
    for name in ("1_Pooling", DENSE, "3_Normalize"):
        (folder / name).mkdir()
    pooling = {"word_embedding_dimension": _WIDTH, "pooling_mode_mean_tokens": True}
    put(folder / "1_Pooling" / "config.json", json.dumps(pooling))
    dense = {
        "in_features": _WIDTH, "out_features": 4, "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }  # fmt: skip
    put(folder / DENSE / "config.json", json.dumps(dense))
    matrix = {"linear.weight": torch.randn(4, _WIDTH), "linear.bias": torch.zeros(4)}
    save_file(matrix, folder / DENSE / WEIGHTS)
    listed = [("", "Transformer"), ("1_Pooling", "Pooling"), (DENSE, "Dense"),
              ("3_Normalize", "Normalize")]  # fmt: skip
    put(folder / MODULES, json.dumps([_module(path, kind) for path, kind in listed]))
    return folder


def _module(path: str, kind: str) -> dict[str, Any]:
    return {"idx": 0, "name": kind, "path": path, "type": f"sentence_transformers.models.{kind}"}


def module(number: int, **changes: Any) -> Harm:
    """Fields of one entry of modules.json."""

    def harm(folder: Path) -> None:
        listed = json.loads((folder / MODULES).read_bytes())
        listed[number].update(changes)
        put(folder / MODULES, json.dumps(listed))

    return harm


def inside(part: str, harm: Harm) -> Harm:
    return lambda folder: harm(folder / part)


def reading(**changes: Any) -> Harm:
    def harm(folder: Path) -> None:
        put(folder / READING, json.dumps(json.loads((folder / READING).read_bytes()) | changes))

    return harm


def code_beside(folder: Path) -> None:
    put(folder / "evil.py", f"import os\nos.mkdir({f'{folder}-ran'!r})\nclass Evil: pass\n")
    module(1, type="evil.Evil")(folder)


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    torch.save({"linear.weight": Runs(f"{folder.parent}-ran")}, folder / "pytorch_model.bin")


def folder_link(folder: Path) -> None:
    outside = folder.parent / f"{folder.name}-outside"
    (folder / DENSE).rename(outside)
    (folder / DENSE).symlink_to(outside)


def other_ids(folder: Path) -> None:
    """Words whose numbers the embedding does not have."""
    path = folder / "tokenizer.json"
    put(path, path.read_text().replace('"hi": 2', '"hi": 2000'))


EMBEDDERS: dict[str, Harm] = {
    "modules.json is cut": cut(MODULES, 40),
    "modules.json is an object": raw(MODULES, "{}"),
    "modules.json is empty": raw(MODULES, "[]"),
    "modules.json lists numbers": raw(MODULES, "[1, 2]"),
    "modules.json is deep": raw(MODULES, "[" * 100_000 + "]" * 100_000),
    "modules.json has a key twice": raw(MODULES, '[{"name": "a", "name": "b"}]'),
    "modules.json is a pipe": instead(MODULES, os.mkfifo),
    "modules.json is a terabyte": instead(MODULES, sparse),
    "modules.json is a link out of the folder": link_out(MODULES),
    "a module is code beside it": code_beside,
    "a module is another program's": module(1, type="os.getcwd"),
    "a module is another class of the library": module(
        1, type="sentence_transformers.SentenceTransformer"
    ),
    "a module's kind is a number": module(1, type=7),
    "a module lies above": module(1, path="../other"),
    "a module lies elsewhere": module(1, path="/etc"),
    "a module is the folder above": module(1, path=".."),
    "a module is a link out of the folder": folder_link,
    "a module is missing": lambda folder: shutil.rmtree(folder / DENSE),
    "options for the library": reading(model_args={"attn_implementation": "evil/kernel"}),
    "options for its tokenizer": reading(tokenizer_args={"trust_remote_code": True}),
    "texts become chats": reading(modality_config={"message": {"method": "forward"}}),
    "the window is a text": reading(max_seq_length="many"),
    "the window is longer than the positions": reading(max_seq_length=64),
    "how to read is a list": raw(READING, "[]"),
    "how to read is a pipe": instead(READING, os.mkfifo),
    "its settings are damaged": raw("config_sentence_transformers.json", "{"),
    "the matrix is a terabyte": inside(DENSE, config(in_features=10**6, out_features=10**6)),
    "the matrix is a text": inside(DENSE, config(in_features="many")),
    "the matrix is negative": inside(DENSE, config(out_features=-4)),
    "the matrix has another width": inside(
        DENSE, weights(lambda state: state.update({"linear.weight": torch.zeros(4, 5)}))
    ),
    "the matrix is for another model": lambda folder: (
        inside(DENSE, config(in_features=5))(folder),
        inside(DENSE, weights(lambda state: state.update({"linear.weight": torch.zeros(4, 5)})))(
            folder
        ),
    ),
    "the matrix is a pickle that runs code": inside(DENSE, pickled),
    "the matrix is NaN": inside(DENSE, filled("linear.bias", float("nan"))),
    "the activation is another function": inside(DENSE, config(activation_function="os.getcwd")),
    "the matrix is missing": inside(DENSE, instead(WEIGHTS, lambda path: None)),
    "the pooling is unknown": inside("1_Pooling", raw("config.json", '{"pooling_mode": "evil"}')),
    "the pooling is a list": inside("1_Pooling", raw("config.json", "[]")),
    "the pooling is deep": inside(
        "1_Pooling", raw("config.json", '{"a":' * 9999 + "1" + "}" * 9999)
    ),
    "config.json is missing": instead("config.json", lambda path: None),
    "a billion layers": config(num_hidden_layers=10**9),
    "a trillion tokens": config(vocab_size=TERABYTE),
    "a hundred million tokens": config(vocab_size=10**8),
    "another width": config(hidden_size=32),
    "it brings code of its own": config(model_type="evil", auto_map={"AutoModel": "evil.Evil"}),
    "the weights are cut": cut(WEIGHTS, 3000),
    "the weights are a pipe": instead(WEIGHTS, os.mkfifo),
    "the header lies": length(2**40),
    "a weight is NaN": filled("encoder.layer.0.output.dense.bias", float("nan")),
    "a tensor is missing": weights(lambda s: s.pop("encoder.layer.0.output.dense.weight")),
    "weights overflow": weights(
        lambda state: state["embeddings.LayerNorm.weight"].fill_(torch.finfo().max)
    ),
    "an adapter lies beside it": raw("adapter_config.json", '{"peft_type": "LORA"}'),
    "its tokens have numbers beyond the weights": other_ids,
    "tokenizer.json is a list": raw("tokenizer.json", "[]"),
    "tokenizer.json is missing": instead("tokenizer.json", lambda path: None),
}
