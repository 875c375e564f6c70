"""Model files as a stranger might send them: more than a hundred ways to be wrong, by kind.

Each entry of a table is a sentence and a function that makes a good folder or file hostile.
"""

import base64
import io
import json
import os
import pickle
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from clfcore.model.adapters import adapt, adapter_record
from clfcore.model.classifier import TextClassifier
from clfcore.model.gpt import GPTModel
from clfcore.model.spec import GPTConfig, Reading
from clfcore.weights.checkpoint import save_checkpoint
from clfcore.weights.meta import Meta
from clfcore.weights.storage import AS_FLOATS, Storage

Harm = Callable[[Path], object]
CFG = GPTConfig(context_length=16, emb_dim=4, n_heads=1, n_layers=1)
TERABYTE = 10**12
WEIGHTS, META = "model.safetensors", "meta.json"


# --- good ones ----------------------------------------------------------------------------------


def good_checkpoint(folder: Path, storage: Storage = AS_FLOATS) -> Path:
    torch.manual_seed(0)
    model = TextClassifier(GPTModel(CFG, 2), Reading()).eval()
    about = {"train": {"history": []}, "data": {"split_seed": 0}}
    save_checkpoint(folder, model, Meta("tiny", ("ham", "spam"), CFG, about=about), storage)
    return folder


def good_adapter(folder: Path, name: str = "lora") -> Path:
    """On a trunk that is stored beside it, so that nothing else is needed."""
    torch.manual_seed(0)
    model = TextClassifier(GPTModel(CFG, 2), Reading()).eval()
    adapt(model, name, 2, 10, 0)
    meta = Meta("tiny", ("ham", "spam"), CFG, adapter=adapter_record(model))
    save_checkpoint(folder, model, meta)
    return folder


def good_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return GPTModel(CFG, 2).state_dict()


# --- how to be hostile --------------------------------------------------------------------------


def put(path: Path, content: bytes | str) -> None:
    path.unlink(missing_ok=True)  # the good one may be linked here
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def meta(**changes: Any) -> Harm:
    """Fields of meta.json; ``...``: without it."""

    def harm(folder: Path) -> None:
        record = {**json.loads((folder / META).read_bytes()), **changes}
        put(folder / META, json.dumps({n: v for n, v in record.items() if v is not ...}))

    return harm


def nested(field: str, **changes: Any) -> Harm:
    def harm(folder: Path) -> None:
        record = json.loads((folder / META).read_bytes())
        record[field] = {**record[field], **changes}
        put(folder / META, json.dumps(record))

    return harm


def raw(name: str, content: bytes | str) -> Harm:
    return lambda folder: put(folder / name, content)


def edited(name: str, old: bytes, new: bytes) -> Harm:
    def harm(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert old in content
        put(folder / name, content.replace(old, new, 1))

    return harm


def header(change: Callable[[dict[str, Any]], object]) -> Harm:
    """Another header before the same bytes."""

    def harm(folder: Path) -> None:
        content = (folder / WEIGHTS).read_bytes()
        length = int.from_bytes(content[:8], "little")
        record = json.loads(content[8 : 8 + length])
        change(record)
        text = json.dumps(record).encode()
        put(folder / WEIGHTS, struct.pack("<Q", len(text)) + text + content[8 + length :])

    return harm


def tensor(name: str, **changes: Any) -> Harm:
    return header(lambda record: record[name].update(changes))


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Harm:
    """Other weights, in a file that is whole."""

    def harm(folder: Path) -> None:
        state = {name: each.clone() for name, each in load_file(folder / WEIGHTS).items()}
        change(state)
        put(folder / WEIGHTS, save(state, {"format": "pt"}))

    return harm


def filled(name: str, value: float) -> Harm:
    return weights(lambda state: state[name].view(-1)[-1:].fill_(value))


def length(number: int) -> Harm:
    def harm(folder: Path) -> None:
        content = (folder / WEIGHTS).read_bytes()
        put(folder / WEIGHTS, struct.pack("<Q", number) + content[8:])

    return harm


def cut(name: str, bytes_left: int) -> Harm:
    return lambda folder: put(folder / name, (folder / name).read_bytes()[:bytes_left])


def instead(name: str, make: Callable[[Path], object]) -> Harm:
    """Something else than a file."""

    def harm(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return harm


def sparse(path: Path, size: int = TERABYTE) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def sparse_model(folder: Path) -> None:
    """A terabyte of zeros with a header and a description that are true of it."""
    cfg = {**CFG.to_dict(), "vocab_size": TERABYTE // 16}
    meta(model=cfg)(folder)
    content = (folder / WEIGHTS).read_bytes()
    record = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    end = 0
    record["tok_emb.weight"]["shape"] = [cfg["vocab_size"], CFG.emb_dim]
    for each in record.values():
        if "shape" in each:
            size = 4 * int(torch.Size(each["shape"]).numel())
            each["data_offsets"] = [end, end + size]
            end += size
    text = json.dumps(record).encode()
    put(folder / WEIGHTS, struct.pack("<Q", len(text)) + text)
    os.truncate(folder / WEIGHTS, 8 + len(text) + end)


def link_out(name: str) -> Harm:
    """The same file, but outside of the folder."""

    def harm(folder: Path) -> None:
        outside = folder.parent / f"{folder.name}-{name}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return harm


_DEEP = 100_000
_ESC = "\x1b[2J\x1b]0;owned\x07"
_NESTED = '{"a":' * _DEEP + "1" + "}" * _DEEP
_END = sum(4 * weight.numel() for weight in good_state().values())  # of the weights, in bytes
_MANY = {f"x{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(110_000)}


class Runs:
    """A pickle that would leave a file behind."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (self.mark,)


# --- checkpoints: a folder of meta.json and model.safetensors -------------------------------------

CHECKPOINTS: dict[str, Harm] = {
    # meta.json as a file
    "meta.json is empty": raw(META, ""),
    "meta.json is cut": cut(META, 100),
    "meta.json is a list": raw(META, "[]"),
    "meta.json is a number": raw(META, "7"),
    "meta.json is null": raw(META, "null"),
    "meta.json is not UTF-8": raw(META, b'{"kind": "\xff\xfe"}'),
    "meta.json is UTF-16": lambda f: put(f / META, (f / META).read_text().encode("utf-16")),
    "meta.json is UTF-32": lambda f: put(f / META, (f / META).read_text().encode("utf-32")),
    "meta.json has a NUL behind it": lambda f: put(f / META, (f / META).read_bytes() + b"\0"),
    "meta.json is a hundred thousand objects deep": raw(META, _NESTED),
    "meta.json is a hundred thousand lists deep": raw(META, "[" * _DEEP + "]" * _DEEP),
    "meta.json has a key twice": edited(META, b'"name"', b'"name": "first", "name"'),
    "meta.json is a terabyte": instead(META, sparse),
    "meta.json has 20 MB of spaces": raw(META, b" " * 20_000_000 + b"{}"),
    "meta.json is a folder": instead(META, Path.mkdir),
    "meta.json is a pipe": instead(META, os.mkfifo),
    "meta.json is a device": instead(META, lambda path: path.symlink_to("/dev/zero")),
    "meta.json is a link to itself": instead(META, lambda path: path.symlink_to(path.name)),
    "meta.json is a link to nothing": instead(META, lambda path: path.symlink_to("nothing")),
    "meta.json is a link out of the folder": link_out(META),
    "meta.json is missing": instead(META, lambda path: None),
    # its fields
    "the kind is another": meta(kind="lora"),
    "the kind is a list": meta(kind=["tuneshot-classifier"]),
    "the format is of the future": meta(format=99),
    "the format is a truth value": meta(format=True),
    "the format is a text": meta(format="2"),
    "a field is missing": meta(threshold=...),
    "a field is unknown": meta(script="rm -rf /"),
    "the name is a number": meta(name=7),
    "the name is empty": meta(name=""),
    "the name has a million letters": meta(name="a" * 1_000_000),
    "the labels are null": meta(labels=None),
    "the labels are a text": meta(labels="ab"),
    "the labels are an object": meta(labels={"ham": 0, "spam": 1}),
    "there is no label": meta(labels=[]),
    "there is one label": meta(labels=["ham"]),
    "two labels are the same": meta(labels=["ham", "ham"]),
    "a label is null": meta(labels=["ham", None]),
    "a label is empty": meta(labels=["ham", ""]),
    "a label is a list": meta(labels=["ham", ["spam"]]),
    "a label is half a surrogate pair": meta(labels=["ham", "\ud800"]),
    "there are more labels than outputs": meta(labels=["a", "b", "c"]),
    "there are a hundred thousand labels": meta(labels=[str(i) for i in range(100_000)]),
    "the threshold is NaN": meta(threshold=float("nan")),
    "the threshold is infinite": meta(threshold=float("inf")),
    "the threshold overflows": edited(META, b'"threshold": 0.5', b'"threshold": 1e999'),
    "the threshold is negative": meta(threshold=-0.1),
    "the threshold is above one": meta(threshold=1.5),
    "the threshold is a text": meta(threshold="0.5"),
    "the threshold is a truth value": meta(threshold=True),
    "the threshold has a million digits": edited(
        META, b'"threshold": 0.5', b'"threshold": ' + b"9" * 1_000_000
    ),
    "the model is null and there is no source": meta(model=None),
    "the model is a list": meta(model=[]),
    "a size of the model is unknown": nested("model", width=3),
    "a billion layers are declared": nested("model", n_layers=10**9),
    "a thousand layers are declared": nested("model", n_layers=1000),
    "no layer is declared": nested("model", n_layers=0),
    "layers are a truth value": nested("model", n_layers=True),
    "the width is 2 to the 60": nested("model", emb_dim=2**60),
    "the width is negative": nested("model", emb_dim=-4),
    "the width is not divisible by the heads": nested("model", n_heads=3),
    "there are a billion tokens": nested("model", vocab_size=10**9),
    "there are ten tokens": nested("model", vocab_size=10),
    "the context is a quintillion tokens long": nested("model", context_length=10**18),
    "the dropout is NaN": nested("model", drop_rate=float("nan")),
    "the dropout is a text": nested("model", drop_rate="0.1"),
    "the biases are a number": nested("model", qkv_bias=1),
    "the biases are missing": nested("model", qkv_bias=False),
    "the reading is null": meta(reading=None),
    "the position is unknown": nested("reading", position="everywhere"),
    "activations of a million bits": meta(activation_bits=10**6),
    "activations of one bit": meta(activation_bits=1),
    "the bits of activations are a text": meta(activation_bits="8"),
    "messages are padded to a trillion tokens": nested(
        "reading", position="last_column", pad_to=10**12
    ),
    "messages are padded to a negative number of tokens": nested(
        "reading", position="last_column", pad_to=-5
    ),
    "the causal mask is a text": nested("reading", causal="no"),
    "the storage is unknown": nested("weights", storage="int4"),
    "the sum is another": nested("weights", sha256="0" * 64),
    "the sum is a number": nested("weights", sha256=7),
    "the weights are null": meta(weights=None),
    "about is a list": meta(about=[]),
    "the data are a text": nested("about", data="sms"),
    "the seed of the split is a text": nested("about", data={"split_seed": "0"}),
    "the history is a number": nested("about", train={"history": 7}),
    "the history has texts": nested("about", train={"history": [{"step": "one"}]}),
    "the calibration is NaN": nested("about", calibration={"slope": float("nan")}),
    "the calibration is a text": nested("about", calibration={"slope": "1"}),
    "the classes are more than the labels": nested("about", classes=["a", "b", "c"]),
    "the adapter is unknown": meta(
        adapter={"name": "evil", "rank": 1, "total_steps": 1, "seed": 0}
    ),
    "the adapter is a text": meta(adapter="lora"),
    "the adapter is stored nowhere": meta(
        adapter={"name": "lora", "rank": 2, "total_steps": 1, "seed": 0}
    ),
    "the adapter has a rank of a billion": meta(
        adapter={"name": "lora", "rank": 10**9, "total_steps": 1, "seed": 0}
    ),
    "the adapter has a negative rank": meta(
        adapter={"name": "lora", "rank": -1, "total_steps": 1, "seed": 0}
    ),
    # a trunk from elsewhere
    "the source is another folder": meta(source="/etc", fingerprint="0" * 64),
    "the source is a folder above": meta(source="../other", fingerprint="0" * 64),
    "the source is a repository": meta(source="nobody/nothing", fingerprint="0" * 64),
    "the source is an address": meta(source="https://example.org/x", fingerprint="0" * 64),
    "the source is a GGUF file": meta(source="evil.gguf", fingerprint="0" * 64),
    "the source has a NUL": meta(source="/\0", fingerprint="0" * 64),
    "the source clears the screen": meta(source=_ESC, fingerprint="0" * 64),
    "the source is a number": meta(source=7, fingerprint="0" * 64),
    "the source has no fingerprint": meta(source="gpt2-mini"),
    "the source has other weights": meta(source="gpt2-mini", fingerprint="0" * 64),
    # model.safetensors as a file
    "the weights are missing": instead(WEIGHTS, lambda path: None),
    "the weights are empty": raw(WEIGHTS, ""),
    "the weights are seven bytes": raw(WEIGHTS, "1234567"),
    "the weights are cut in the header": cut(WEIGHTS, 50),
    "the weights are cut at the end": cut(WEIGHTS, 700_000),
    "the weights are a web page": raw(WEIGHTS, "<!DOCTYPE html><title>404</title>"),
    "the weights are a pickle": raw(WEIGHTS, pickle.dumps({"a": 1})),
    "the weights are a folder": instead(WEIGHTS, Path.mkdir),
    "the weights are a pipe": instead(WEIGHTS, os.mkfifo),
    "the weights are a device": instead(WEIGHTS, lambda path: path.symlink_to("/dev/zero")),
    "the weights are a terabyte of zeros": instead(WEIGHTS, sparse),
    "the weights are a terabyte, and true to their description": sparse_model,
    "the weights are a link out of the folder": link_out(WEIGHTS),
    "bytes stand behind the weights": lambda f: put(f / WEIGHTS, (f / WEIGHTS).read_bytes() + b"x"),
    # its header
    "the header is longer than the file": length(10**7),
    "the header has 2 to the 63 bytes": length(2**63),
    "the header has no byte": length(0),
    "the header is no JSON": edited(WEIGHTS, b'"dtype"', b"'dtype'"),
    "the header is not UTF-8": edited(WEIGHTS, b"out_head", b"\xff\xff\xff_head"),
    "the header names a tensor twice": edited(WEIGHTS, b"pos_emb.weight", b"tok_emb.weight"),
    "the header is a list": lambda f: put(f / WEIGHTS, struct.pack("<Q", 2) + b"[]"),
    "the header is 30 MB": lambda f: put(
        f / WEIGHTS, struct.pack("<Q", 30_000_000) + b" " * 30_000_000
    ),
    "the header is deep": lambda f: put(
        f / WEIGHTS, struct.pack("<Q", len(_NESTED)) + _NESTED.encode()
    ),
    "the header names 110,000 tensors": header(lambda record: record.update(_MANY)),
    "a type is unknown": tensor("pos_emb.weight", dtype="COMPLEX"),
    "a type is a list": tensor("pos_emb.weight", dtype=["F32"]),
    "a weight is a whole number": tensor("pos_emb.weight", dtype="I32"),
    "a shape is negative": tensor("pos_emb.weight", shape=[-16, -4]),
    "a shape is a text": tensor("pos_emb.weight", shape="16x4"),
    "a shape has truth values": tensor("pos_emb.weight", shape=[True, 64]),
    "a shape has fractions": tensor("pos_emb.weight", shape=[16.0, 4.0]),
    "a shape overflows": tensor("pos_emb.weight", shape=[2**62, 2**62]),
    "a shape has a thousand dimensions": tensor("pos_emb.weight", shape=[1] * 1000),
    "a shape is turned round": tensor("pos_emb.weight", shape=[4, 16]),
    "two tensors lie over each other": tensor("pos_emb.weight", data_offsets=[0, 256]),
    "a tensor lies behind the file": tensor("pos_emb.weight", data_offsets=[10**12, 10**12 + 256]),
    "a tensor ends before it begins": tensor("pos_emb.weight", data_offsets=[256, 0]),
    "a tensor has three offsets": tensor("pos_emb.weight", data_offsets=[0, 256, 512]),
    "a tensor has no place": header(lambda record: record["pos_emb.weight"].pop("data_offsets")),
    "a tensor is null": header(lambda record: record.update({"pos_emb.weight": None})),
    "the header's metadata are a list": header(lambda record: record.update(__metadata__=[])),
    "the header's metadata are a number": header(
        lambda record: record.update(__metadata__={"format": 7})
    ),
    "the header has a byte order mark": lambda f: put(
        f / WEIGHTS, struct.pack("<Q", 5) + b"\xef\xbb\xbf{}"
    ),
    "a tensor's name is half a surrogate pair": header(
        lambda record: record.update({"\ud800": {**_MANY["x0"], "data_offsets": [_END, _END]}})
    ),
    # the weights themselves
    "a weight is NaN": filled("pos_emb.weight", float("nan")),
    "a weight is infinite": filled("trf_blocks.0.att.W_key.weight", float("inf")),
    "a weight is minus infinity": filled("out_head.bias", float("-inf")),
    "a tensor is missing": weights(lambda state: state.pop("final_norm.scale")),
    "the head is missing": weights(
        lambda state: [state.pop(name) for name in ("out_head.weight", "out_head.bias")]
    ),
    "a tensor is too many": weights(lambda state: state.update({"evil": torch.zeros(3)})),
    "a tensor's name clears the screen": weights(lambda s: s.update({_ESC: torch.zeros(3)})),
    "the head is for another width": weights(
        lambda state: state.update({"out_head.weight": torch.zeros(2, 5)})
    ),
    "a tensor has no dimension": weights(
        lambda state: state.update({"tok_emb.weight": torch.zeros(())})
    ),
    "the file says int8 and has floats": nested("weights", storage="int8"),
    "there is a block without a number": weights(
        lambda state: state.update({"trf_blocks.": torch.zeros(1)})
    ),
}  # fmt: skip

# int8 rows and their scales.
COMPACT: dict[str, Harm] = {
    "a scale is missing": weights(lambda state: state.pop("pos_emb.weight:scale")),
    "a scale is too many": weights(lambda state: state.update({"x:scale": torch.zeros(2).half()})),
    "a scale is NaN": filled("pos_emb.weight:scale", float("nan")),
    "a scale has two dimensions": weights(
        lambda state: state.update({"pos_emb.weight:scale": torch.zeros(16, 16).half()})
    ),
    "a bias has a scale and would be squared": weights(
        lambda state: state.update(
            {"b": torch.zeros(100_000).half(), "b:scale": torch.zeros(100_000).half()}
        )
    ),
    "rows are floats": weights(
        lambda state: state.update({"pos_emb.weight": torch.zeros(16, 4).half()})
    ),
}

# Low-rank weights beside the trunk.
ADAPTERS: dict[str, Harm] = {
    "the rank is a million": nested("adapter", rank=1_000_000),
    "the rank is another": nested("adapter", rank=3),
    "the seed is negative": nested("adapter", seed=-1),
    "the seed has seventy bits": edited(META, b'"seed": 0', b'"seed": 1180591620717411303424'),
    "the adapter is another kind": nested("adapter", name="loha"),
    "the adapter is said to be none": meta(adapter=None),
    "half of the adapter is missing": weights(
        lambda s: s.pop("trf_blocks.0.att.W_query.lora_B.default.weight")
    ),
    "the adapter's weights are NaN": filled(
        "trf_blocks.0.att.W_query.lora_A.default.weight", float("nan")
    ),
}


# --- chapter-6 files: a state dict of torch.save --------------------------------------------------


def saved(change: Callable[[dict[str, Any]], object], **how: Any) -> Harm:
    def harm(path: Path) -> None:
        state: dict[str, Any] = dict(good_state())
        change(state)
        torch.save(state, path, **how)

    return harm


def compressed(path: Path) -> None:
    """The same archive, packed: a few bytes that would become many."""
    made = io.BytesIO()
    torch.save({**good_state(), "tok_emb.weight": torch.zeros(50257, 30)}, made)
    with zipfile.ZipFile(made) as good, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for entry in good.infolist():
            bomb.writestr(entry.filename, good.read(entry))


def rewritten(path: Path, name: str, content: bytes) -> None:
    """A good archive with other bytes under one name."""
    made = io.BytesIO()
    torch.save(good_state(), made)
    with zipfile.ZipFile(made) as good, zipfile.ZipFile(path, "w") as bad:
        for entry in good.infolist():
            bad.writestr(entry, content if entry.filename.endswith(name) else good.read(entry))


def quietly_nested() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a prototype
        return torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)])


def expanded(state: dict[str, Any]) -> None:
    state["tok_emb.weight"] = torch.zeros(()).expand(10**9, 1000)


PICKLES: dict[str, Harm] = {
    "it runs code": lambda path: torch.save({"a": Runs(f"{path}-ran")}, path),
    "it is a bare pickle": lambda path: put(path, pickle.dumps(Runs(f"{path}-ran"))),
    "it is of an old PyTorch": saved(lambda _: None, _use_new_zipfile_serialization=False),
    "it is empty": lambda path: put(path, ""),
    "it is a web page": lambda path: put(path, "<!DOCTYPE html>"),
    "it is an archive of nothing": lambda path: zipfile.ZipFile(path, "w").close(),
    "it is another archive": lambda path: zipfile.ZipFile(path, "w").writestr("a.txt", "a"),
    "it is a folder": Path.mkdir,
    "it is a pipe": os.mkfifo,
    "it is a device": lambda path: path.symlink_to("/dev/zero"),
    "it is a terabyte of zeros": sparse,
    "it is compressed": compressed,
    "it is a list": lambda path: torch.save([1, 2], path),
    "it is a tensor": lambda path: torch.save(torch.zeros(3), path),
    "it has names that are numbers": saved(lambda state: state.update({7: torch.zeros(1)})),
    "it has a text in place of a tensor": saved(lambda state: state.update({"out_head.bias": "x"})),
    "it has a billion rows in a few bytes": saved(expanded),
    "it has sparse weights": saved(
        lambda state: state.update({"out_head.bias": torch.zeros(2).to_sparse()})
    ),
    "it has whole numbers": saved(
        lambda state: state.update({"out_head.bias": torch.zeros(2, dtype=torch.long)})
    ),
    "it has weights that are NaN": saved(lambda state: state["out_head.bias"].fill_(float("nan"))),
    "it has weights of eight bits that are NaN": saved(
        lambda state: state.update(
            {"out_head.bias": torch.full((2,), float("nan")).to(torch.float8_e4m3fn)}
        )
    ),
    "it has tensors of tensors": saved(
        lambda state: state.update({"out_head.bias": quietly_nested()})
    ),
    "it has two million empty lists": lambda path: rewritten(
        path, "data.pkl", b"\x80\x02" + b"]" * 2_000_000 + b"."
    ),
    "it lacks the head": saved(lambda state: state.pop("out_head.bias")),
    "its embedding has one dimension": saved(
        lambda state: state.update({"tok_emb.weight": torch.zeros(7)})
    ),
    "it knows ten tokens": saved(
        lambda state: state.update({"tok_emb.weight": torch.zeros(10, 4)})
    ),
    "it has a block of another width": saved(
        lambda state: state.update({"trf_blocks.0.ff.layers.0.weight": torch.zeros(3, 3)})
    ),
    "it holds a module": lambda path: torch.save(torch.nn.Linear(2, 2), path),
    "it holds an ordered dictionary of itself": lambda path: torch.save(
        OrderedDict(a=OrderedDict(b=1)), path
    ),
}


# --- folders of transformers ----------------------------------------------------------------------


def config(**changes: Any) -> Harm:
    def harm(folder: Path) -> None:
        record = {**json.loads((folder / "config.json").read_bytes()), **changes}
        put(folder / "config.json", json.dumps({n: v for n, v in record.items() if v is not ...}))

    return harm


def tokens(change: Callable[[dict[str, Any]], object]) -> Harm:
    """Another vocabulary in tokenizer.json."""

    def harm(folder: Path) -> None:
        record = json.loads((folder / "tokenizer.json").read_bytes())
        change(record["model"]["vocab"])
        put(folder / "tokenizer.json", json.dumps(record))

    return harm


def other_fields(name: str, **changes: Any) -> Harm:
    def harm(folder: Path) -> None:
        put(folder / name, json.dumps(json.loads((folder / name).read_bytes()) | changes))

    return harm


generation = partial(other_fields, "generation_config.json")
settings_of_tokenizer = partial(other_fields, "tokenizer_config.json")
tokenizer = partial(other_fields, "tokenizer.json")


def replaced(old: str, new: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


_EMBEDDING = "model.embed_tokens.weight"
FOLDERS: dict[str, Harm] = {
    "config.json is missing": instead("config.json", lambda path: None),
    "config.json is cut": cut("config.json", 40),
    "config.json is a list": raw("config.json", "[]"),
    "config.json is deep": raw("config.json", _NESTED),
    "config.json is a pipe": instead("config.json", os.mkfifo),
    "config.json is a terabyte": instead("config.json", sparse),
    "config.json is a link out of the folder": link_out("config.json"),
    "a billion layers": config(num_hidden_layers=10**9),
    "a thousand layers": config(num_hidden_layers=1000),
    "three layers, where two are stored": config(num_hidden_layers=3),
    "layers are a text": config(num_hidden_layers="two"),
    "layers are negative": config(num_hidden_layers=-2),
    "a trillion tokens": config(vocab_size=10**12),
    "a hundred million tokens": config(vocab_size=10**8),
    "ten tokens": config(vocab_size=10),
    "a width of a billion": config(hidden_size=10**9),
    "a width of none": config(hidden_size=0),
    "no heads": config(num_attention_heads=0),
    "another width": config(hidden_size=64),
    "positions are a text": config(max_position_embeddings="many"),
    "positions are negative": config(max_position_embeddings=-1),
    "the kind of model is unknown": config(model_type="evil"),
    "the kind of model is a list": config(model_type=["llama"]),
    "the kind of model is missing": config(model_type=...),
    "it is an encoder": config(model_type="bert"),
    "it brings code of its own": config(
        model_type="evil", auto_map={"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}
    ),
    "it has its attention from a repository": config(attn_implementation="evil/kernels"),
    "a part of it has its experts from a repository": config(
        text_config={"experts_implementation": {"": "evil/kernels:x"}}
    ),
    "it is quantised by a library that is not here": config(
        quantization_config={"quant_method": "awq", "bits": 4}
    ),
    "its weights are named elsewhere": config(transformers_weights="../../x.safetensors"),
    "the norm's epsilon is a text": config(rms_norm_eps="small"),
    "the activation is unknown": config(hidden_act="evil"),
    "an adapter lies beside it": raw(
        "adapter_config.json", '{"base_model_name_or_path": "/etc", "peft_type": "LORA"}'
    ),
    "the weights are missing": instead(WEIGHTS, lambda path: None),
    "the weights are cut": cut(WEIGHTS, 5000),
    "the weights are a pipe": instead(WEIGHTS, os.mkfifo),
    "the weights are a folder": instead(WEIGHTS, Path.mkdir),
    "the weights are a terabyte of zeros": instead(WEIGHTS, sparse),
    "the weights are a link out of the folder": link_out(WEIGHTS),
    "the header lies": length(2**40),
    "two tensors lie over each other": tensor(_EMBEDDING, data_offsets=[0, 8]),
    "a tensor is missing": weights(lambda state: state.pop("model.norm.weight")),
    "a tensor has another shape": weights(
        lambda state: state.update({"model.norm.weight": torch.zeros(5)})
    ),
    "a weight is NaN": filled("model.norm.weight", float("nan")),
    "a weight is infinite": filled(_EMBEDDING, float("inf")),
    "the index names a file above": lambda folder: (
        (folder / WEIGHTS).unlink(),
        raw(f"{WEIGHTS}.index.json", '{"weight_map": {"a": "../../x.safetensors"}}')(folder),
    ),
    "the index is a list": lambda folder: (
        (folder / WEIGHTS).unlink(), raw(f"{WEIGHTS}.index.json", "[]")(folder),
    ),
    "the index names a file that is not there": lambda folder: (
        (folder / WEIGHTS).unlink(),
        raw(f"{WEIGHTS}.index.json", '{"weight_map": {"a": "x.safetensors"}}')(folder),
    ),
    "its pickle runs code": lambda folder: (
        (folder / WEIGHTS).unlink(),
        torch.save({"a": Runs(f"{folder}-ran")}, folder / "pytorch_model.bin"),
    ),
    "its tokenizer doubles a letter thirty times": tokenizer(
        normalizer={"type": "Sequence", "normalizers": [replaced("e", "ee")] * 30}
    ),
    "its tokenizer writes between all letters thirty times": tokenizer(
        normalizer={
            "type": "Sequence",
            "normalizers": [{**replaced("", "x"), "pattern": {"Regex": "(?=.)"}}] * 30,
        }
    ),
    "its tokenizer replaces nothing": tokenizer(normalizer=replaced("", "x")),
    "its tokenizer puts a million letters in front": tokenizer(
        normalizer={"type": "Prepend", "prepend": "a" * 1_000_000}
    ),
    "its tokenizer makes a million letters of one": tokenizer(
        normalizer={
            "type": "Precompiled",
            "precompiled_charsmap": base64.b64encode(bytes(4) + b"a" * 1_000_000).decode(),
        }
    ),
    "its tokenizer doubles what it writes": tokenizer(
        decoder={"type": "Sequence", "decoders": [replaced("e", "ee")] * 30}
    ),
    "its tokenizer puts a million tokens around a text": tokenizer(
        post_processor={
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<|end|>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {
                "<|end|>": {
                    "id": "<|end|>", "ids": [0] * 1_000_000, "tokens": ["<|end|>"] * 1_000_000,
                }
            },
        }
    ),
    "tokenizer.json is cut": cut("tokenizer.json", 100),
    "tokenizer.json is a list": raw("tokenizer.json", "[]"),
    "tokenizer.json is deep": raw("tokenizer.json", _NESTED),
    "tokenizer.json is a pipe": instead("tokenizer.json", os.mkfifo),
    "tokenizer.json is a terabyte": instead("tokenizer.json", sparse),
    "tokenizer_config.json is a list": raw("tokenizer_config.json", "[]"),
    "tokenizer_config.json is a device": instead(
        "tokenizer_config.json", lambda path: path.symlink_to("/dev/zero")
    ),
    "generation_config.json is a pipe": instead("generation_config.json", os.mkfifo),
    "generation_config.json is a list": raw("generation_config.json", "[]"),
    "generation_config.json is deep": raw("generation_config.json", _NESTED),
    "generation ends at a text": generation(eos_token_id="evil"),
    "generation ends at lists": generation(eos_token_id=[[1], [2]]),
    "generation ends at an object": generation(eos_token_id={"a": 1}),
    "generation ends at a fraction": generation(eos_token_id=[1.5]),
    "a token's number is beyond the weights": tokens(lambda t: t.update(spam=10**6)),
    "a token's number has 40 bits": tokens(lambda t: t.update(spam=2**40)),
    "a token's number is negative": tokens(lambda t: t.update(spam=-1)),
    "a token's number is a text": tokens(lambda t: t.update(spam="one")),
    "a token's number is a fraction": tokens(lambda t: t.update(spam=1.5)),
    "there is no token": tokens(lambda t: t.clear()),
    "the model knows one token fewer": weights(
        lambda s: (s.update({_EMBEDDING: s[_EMBEDDING][:-1].clone()}), s.pop("lm_head.weight", 0))
    ),
    "a special token is a number": settings_of_tokenizer(eos_token=5),
    "a special token is an object": settings_of_tokenizer(bos_token={"evil": True}),
    "the tokenizer is code of its own": settings_of_tokenizer(
        tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    ),
    "an added token is a text": settings_of_tokenizer(added_tokens_decoder={"7": "evil"}),
    "an added token's number is a word": settings_of_tokenizer(
        added_tokens_decoder={"evil": {"content": "x"}}
    ),
    "an added token is beyond the weights": settings_of_tokenizer(
        added_tokens_decoder={"10000": {"content": "win", "special": False}}
    ),
}  # fmt: skip


# --- GGUF files -----------------------------------------------------------------------------------


def gguf(version: int = 3, tensors: int = 0, entries: int = 0, rest: bytes = b"") -> Harm:
    return lambda path: put(path, b"GGUF" + struct.pack("<IQQ", version, tensors, entries) + rest)


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def entry(name: bytes, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def gguf_tensor(shape: list[int], kind: int = 0, place: int = 0, name: bytes = b"t") -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + sizes + struct.pack("<IQ", kind, place)


_LLAMA = entry(b"general.architecture", 8, text(b"llama"))
GGUFS: dict[str, Harm] = {
    "it is empty": lambda path: put(path, ""),
    "it is a web page": lambda path: put(path, "<!DOCTYPE html>"),
    "it is cut": lambda path: put(path, path.read_bytes()[:3000]),
    "its tensors are cut": lambda path: put(path, path.read_bytes()[:-3000]),
    "it is a folder": lambda path: (path.unlink(), path.mkdir()),
    "it is a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "it is a device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "it is a terabyte of zeros": lambda path: (path.unlink(), sparse(path)),
    "its version is of the future": gguf(version=99),
    "it is for another machine": lambda path: put(path, b"GGUF" + struct.pack(">IQQ", 3, 1, 1)),
    "it names 2 to the 60 tensors": gguf(tensors=2**60),
    "it names 2 to the 60 entries": gguf(entries=2**60),
    "it names nothing": gguf(),
    "a text is longer than the file": gguf(entries=1, rest=struct.pack("<Q", 2**62) + b"x"),
    "a list has 2 to the 60 numbers": gguf(
        entries=1, rest=entry(b"a", 9, struct.pack("<IQ", 0, 2**60))
    ),
    "a list has a million million texts": gguf(
        entries=1, rest=entry(b"a", 9, struct.pack("<IQ", 8, 10**12))
    ),
    "a list is of lists of lists": gguf(
        entries=1,
        rest=entry(b"a", 9, struct.pack("<IQ", 9, 1) * 5000),
    ),
    "an entry has an unknown type": gguf(entries=1, rest=entry(b"a", 77, b"")),
    "its alignment is none": gguf(entries=1, rest=entry(b"general.alignment", 4, bytes(4))),
    "its alignment is a text": gguf(entries=1, rest=entry(b"general.alignment", 8, text(b"x"))),
    "it has a billion blocks": gguf(
        entries=2, rest=_LLAMA + entry(b"llama.block_count", 4, struct.pack("<I", 10**9))
    ),
    "its blocks are a text": gguf(
        entries=2, rest=_LLAMA + entry(b"llama.block_count", 8, text(b"many"))
    ),
    "a tensor has a billion dimensions": gguf(
        tensors=1, rest=text(b"t") + struct.pack("<I", 10**9)
    ),
    "a tensor has no dimension": gguf(tensors=1, rest=gguf_tensor([])),
    "a tensor is empty": gguf(tensors=1, rest=gguf_tensor([0, 4])),
    "a tensor overflows": gguf(tensors=1, rest=gguf_tensor([2**60, 2**60])),
    "a tensor is a terabyte": gguf(tensors=1, rest=gguf_tensor([TERABYTE])),
    "a tensor has an unknown type": gguf(tensors=1, rest=gguf_tensor([4], kind=999)),
    "a tensor lies behind the file": gguf(tensors=1, rest=gguf_tensor([4], place=2**50)),
    "two tensors lie over each other": gguf(
        tensors=2, rest=gguf_tensor([4]) + gguf_tensor([4], name=b"u") + bytes(64)
    ),
    "a tensor is named twice": gguf(
        tensors=2, rest=gguf_tensor([4]) + gguf_tensor([4], place=32) + bytes(96)
    ),
    "it has no architecture": gguf(tensors=1, rest=gguf_tensor([4]) + bytes(64)),
    "its architecture is unknown": gguf(
        entries=1, rest=entry(b"general.architecture", 8, text(b"evil"))
    ),
    "it has an architecture and nothing else": gguf(entries=1, rest=_LLAMA),
    "its weights are NaN": lambda path: put(
        path, path.read_bytes()[:-4096] + struct.pack("<f", float("nan")) * 1024
    ),
}  # fmt: skip
