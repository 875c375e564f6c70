"""What a model's ``config.json`` says, beside the header of its weights.

Transformers would see most of it, too, but only after seconds of imports.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clfcore.errors import TuneshotError
from clfcore.json_text import shortened_repr
from clfcore.weights.untrusted.files import check_file_of, read_object
from clfcore.weights.untrusted.tensors import Shape

# A model cannot have none of these, and each of the sizes is one of some tensor's.
_SIZES = ("vocab_size", "hidden_size", "n_embd")
_LAYERS = ("num_hidden_layers", "n_layer")
_COUNTS = (*_SIZES, *_LAYERS, "num_attention_heads", "n_head", "max_position_embeddings",
           "n_positions")  # fmt: skip
_SMALL = re.compile("(_|^)(eps|epsilon)$")
_ENDS = "eos_token_id"
_GENERATION = "generation_config.json"
_OF_TOKENIZER = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def check_config(place: Path, config: Mapping[str, Any], tensors: Mapping[str, Shape]) -> None:
    """Refuses sizes that no model has, or that those of the stored tensors contradict.

    Args:
        place: of ``config.json``.
        config: what it says.
        tensors: those of the model; empty: they are not known before they are loaded.

    Raises:
        TuneshotError: naming the first entry that is wrong.
    """
    if not isinstance(config.get("model_type", ""), str):
        raise _wrong(place, "model_type", config["model_type"], "a text")
    check_ends(place, config)
    text = config.get("text_config")
    config = text if isinstance(text, dict) else config
    for name, value in config.items():
        if name in _COUNTS and value is not None and (type(value) is not int or value < 1):
            raise _wrong(place, name, value, "a whole number, 1 or more")
        if _SMALL.search(name) and value is not None and type(value) not in (int, float):
            raise _wrong(place, name, value, "a number")
    if not tensors or config.get("quantization_config"):  # its tensors have other shapes
        return
    sizes = {size for shape in tensors.values() for size in shape}
    for name in _SIZES:
        if (value := config.get(name)) is not None and value not in sizes:
            raise TuneshotError(
                f"{place}: {name} is {value:,}, and none of the stored weights has that size; copy "
                "the folder again"
            )
    stored = 1 + max((number for name in tensors for number in _numbers(name)), default=-1)
    for name in _LAYERS:
        value = config.get(name)
        if value is not None and value > stored and "num_hidden_groups" not in config:  # shared
            raise TuneshotError(
                f"{place}: {name} is {value:,}, and weights of {stored:,} are stored; copy the "
                "folder again"
            )


def check_ends(place: Path, record: Mapping[str, Any]) -> None:
    """Refuses an end of generation that is no token's number.

    Args:
        place: of ``config.json`` or ``generation_config.json``.
        record: what it says.

    Raises:
        TuneshotError: it is none.
    """
    ends = record.get(_ENDS)
    if not all(type(end) is int for end in (ends if isinstance(ends, list) else [ends or 0])):
        raise _wrong(place, _ENDS, ends, "a whole number, or a list of them")


def check_small_files(folder: Path) -> None:
    """Refuses what stands beside ``config.json`` in other files, if it is no object.

    Raises:
        TuneshotError: what is wrong with which file.
    """
    if (folder / _GENERATION).exists():
        check_ends(folder / _GENERATION, read_object(check_file_of(folder, _GENERATION)))
    for path in (folder / name for name in _OF_TOKENIZER):
        try:  # a message's greatest length is often a number of 100 bits here
            if path.exists() and not isinstance(json.loads(path.read_bytes()), dict):
                raise ValueError("no object")
        except (ValueError, RecursionError) as error:
            raise TuneshotError(f"{path} is damaged: it is no JSON object") from error


def _numbers(name: str) -> Iterator[int]:
    return (int(part) for part in name.split(".") if part.isdecimal() and len(part) < 5)


def _wrong(place: Path, name: str, value: object, what: str) -> TuneshotError:
    return TuneshotError(
        f"{place}: {name} is {shortened_repr(value)}; it has to be {what}; copy the folder again"
    )
