"""What a checkpoint says of itself: ``meta.json``, read without loading a weight or torch.

A folder may come from a stranger. Every field is checked here, once, and what ``read_meta`` returns
can be relied on; whether it is true of the weights, ``checkpoint.py`` sees.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from textwrap import shorten
from typing import Any

from clfcore import __version__
from clfcore.errors import TuneshotError
from clfcore.json_text import shortened_repr
from clfcore.model.adapters import ADAPTERS
from clfcore.model.spec import END_OF_TEXT, AdapterSpec, GPTConfig, Reading
from clfcore.paths import ASSETS, check_can_write, expanded
from clfcore.quantization.schemes import SCHEMES
from clfcore.weights.untrusted.files import check_file_of, read_object

BUNDLED = ASSETS / "gpt2-mini"
FORMAT = 3
# 1: a GPT-2, stored whole, read at the last token, or padded as in chapter 6. 2: activations are
# never rounded.
READABLE = (1, 2, 3)
KIND = "tuneshot-classifier"
FLOAT32 = "float32"
STORAGES = (FLOAT32, *SCHEMES)  # of the weights


@dataclass(frozen=True, slots=True)
class Meta:
    """The description of a checkpoint.

    Attributes:
        name: the model's name, e.g. ``"gpt2-mini"``.
        labels: in the order of the head's outputs.
        model: the shape of a GPT-2; ``None`` for another trunk.
        source: the trunk's name, as for ``load_base``; ``None``: the file holds all of it.
        fingerprint: of that trunk's weights, see ``bases.fingerprint``.
        adapter: the arguments of ``adapt``; ``None``: there is no adapter.
        reading: how a message becomes one vector.
        activation_bits: the linear layers of the blocks round what they read to so many bits;
            ``None``: they do not.
        threshold: probability of the second of two labels from which it is answered.
        about: data, training settings, metrics, versions: for people and for records.
    """

    name: str
    labels: tuple[str, ...]
    model: GPTConfig | None = None
    source: str | None = None
    fingerprint: str | None = None
    adapter: Mapping[str, Any] | None = None
    reading: Reading = Reading()  # noqa: RUF009 - frozen
    activation_bits: int | None = None
    threshold: float = 0.5
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Meta":
        """What ``read_meta`` gave, as a ``Meta``."""
        if record["format"] == 1:
            pad_to = record["pad_to"]
            reading = Reading("last_column", pad_to) if pad_to else Reading()
            record = {
                **record, "source": None, "fingerprint": None, "adapter": None,
                "reading": reading.to_dict(),
            }  # fmt: skip
        if record["format"] < 3:
            record = {**record, "activation_bits": None}
        return cls(
            name=record["name"],
            labels=tuple(record["labels"]),
            model=None if record["model"] is None else GPTConfig.from_dict(record["model"]),
            source=record["source"],
            fingerprint=record["fingerprint"],
            adapter=record["adapter"],
            reading=Reading.from_dict(record["reading"]),
            activation_bits=record["activation_bits"],
            threshold=float(record["threshold"]),
            about=record["about"],
        )


def trained_columns(path: Path | None) -> dict[str, object]:
    """The columns that the training data's were named, see ``Columns.remembering``.

    Nothing where nothing was named, or where there is no checkpoint to ask: loading it says why.
    """
    try:
        record = read_meta(BUNDLED if path is None else expanded(path))
    except TuneshotError:
        return {}
    return dict(record["about"].get("data", {}).get("columns", {}))


def check_free(folder: Path, mark: str = "meta.json", what: str = "a checkpoint") -> None:
    """Refuses a folder that cannot be written, or that something else would be lost with.

    Args:
        folder: where a model is to be written.
        mark: a file that such models have: one of them may be replaced.
        what: such a model, for the error message.

    Raises:
        TuneshotError: it cannot be.
    """
    if os.path.exists(folder) and not os.path.exists(folder / mark):
        raise TuneshotError(f"{folder} exists and is not {what}; choose another --out")
    check_can_write(folder.parent)


def read_meta(folder: Path) -> dict[str, Any]:
    """``meta.json``, after checking every field of it, and that this version can read it.

    Raises:
        TuneshotError: as ``load_checkpoint``.
    """
    path = folder / "meta.json"
    if not os.path.lexists(path):
        raise TuneshotError(
            f"{folder} is not a checkpoint ({path.name} cannot be read); make one: clf train"
        )
    record = read_object(check_file_of(folder, path.name))
    if (kind := record.get("kind")) != KIND:
        raise TuneshotError(
            f"{folder} holds another kind of model ({shortened_repr(kind)}, not {KIND!r})"
        )
    if type(record.get("format")) is not int or record["format"] not in READABLE:
        raise TuneshotError(
            f"{folder} has checkpoint format {shortened_repr(record.get('format'))}, this version "
            f"({__version__}) reads {', '.join(map(str, READABLE))}; upgrade to clfcore "
            f"{shortened_repr(record.get('clfcore'))}"
        )
    problems = _problems(record)
    if not problems:
        try:
            problems = _contradictions(Meta.from_record(record))
        except TuneshotError as error:
            problems = [str(error)]
    if problems:
        why = shorten("; ".join(problems), 400, placeholder=" …")
        raise TuneshotError(f"{path} is damaged: {why}; copy the folder again")
    return record


# --- what each field must be --------------------------------------------------------------------

Check = Callable[[Any], bool]


def _text(value: Any) -> bool:  # noqa: ANN401
    """Up to 1,000 characters, without halves of surrogate pairs."""
    return isinstance(value, str) and 0 < len(value) <= 1000 and not _LONE.search(value)


_LONE = re.compile("[\ud800-\udfff]")


def _number(value: Any) -> bool:  # noqa: ANN401
    return type(value) in (int, float)  # finite: ``read_object`` takes no other


def _whole(value: Any) -> bool:  # noqa: ANN401
    return type(value) is int and value >= 0


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _object_of(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _object_with(checks: Mapping[str, Check]) -> Check:
    """An object; what stands under these names, if anything does, is of these kinds."""
    return lambda value: (
        isinstance(value, dict)
        and all(check(value[name]) for name, check in checks.items() if name in value)
    )


def _labels(value: Any) -> bool:  # noqa: ANN401
    return _list_of(_text)(value) and len(value) == len(set(value)) >= 2


def _adapter(value: Any) -> bool:  # noqa: ANN401
    return (
        isinstance(value, dict)
        and value.keys() == {each.name for each in fields(AdapterSpec)}
        and _text(value["name"])
        and value["name"] in ADAPTERS
        and all(_whole(value[name]) for name in ("rank", "total_steps", "seed"))
        and value["rank"] > 0
    )


def _weights(value: Any) -> bool:  # noqa: ANN401
    return (
        isinstance(value, dict)
        and value.keys() == {"sha256", "storage"}
        and _sha256(value["sha256"])
        and value["storage"] in STORAGES
    )


def _sha256(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


# Field -> what it must be, in words, and whether it is. What commands read of ``about``; the rest
# of it is for people.
_ABOUT: dict[str, tuple[str, Check]] = {
    "base": ("the name of a model, or null", _or_null(_text)),
    "classes": (
        "a list of texts, numbers or truth values",
        _list_of(lambda value: _text(value) or _number(value) or type(value) is bool),
    ),
    "data": (
        "an object of columns, split_seed and sums",
        _object_with({
            "columns": _object_of(_text), "split_seed": _whole,
            "sha256": _text, "learned_from": _text,
        }),
    ),
    "train": (
        "an object with the history of its figures",
        _object_with({"history": _list_of(_object_of(_or_null(_number)))}),
    ),
    "calibration": (
        "an object of numbers, or null",
        _or_null(_object_of(lambda value: _number(value) or _list_of(_number)(value))),
    ),
}  # fmt: skip
# Those of all formats, then of one.
_FIELDS: dict[str, tuple[str, Check]] = {
    "format": ("a whole number", _whole),
    "kind": ("a text", _text),
    "clfcore": ("the version that wrote it", _text),
    "name": ("a text of 1 to 1,000 characters", _text),
    "labels": ("two or more texts, all different", _labels),
    "model": ("the shape of a GPT-2, or null", _or_null(_object_of(lambda _: True))),
    "threshold": ("a number in [0, 1]", lambda value: _number(value) and 0 <= value <= 1),
    "weights": (f"a sha256 and a storage, one of {', '.join(STORAGES)}", _weights),
    "about": ("an object", _object_with({})),
}
_FIELDS_OF: dict[int, dict[str, tuple[str, Check]]] = {
    1: {"pad_to": ("a whole number above 0, or null", _or_null(lambda n: _whole(n) and n > 0))},
    2: {
        "source": (
            "the name of a model, or null",
            _or_null(lambda value: _text(value) and value.isprintable()),
        ),
        "fingerprint": ("a sha256, or null", _or_null(_sha256)),
        "adapter": ("name, rank, total_steps and seed of an adapter, or null", _or_null(_adapter)),
        "reading": ("position, pad_to and causal", _object_of(lambda _: True)),
    },
}
_FIELDS_OF[3] = {
    **_FIELDS_OF[2],
    "activation_bits": ("2 to 8, or null", _or_null(lambda n: _whole(n) and 2 <= n <= 8)),
}


def _problems(record: Mapping[str, Any]) -> list[str]:
    """What is wrong with single fields, a sentence each."""
    rules = _FIELDS | _FIELDS_OF[record["format"]]
    return [
        *(f"unknown field {shortened_repr(name)}" for name in record if name not in rules),
        *(f"missing field {name!r}" for name in rules if name not in record),
        *_unlike(rules, record, ""),
    ] or list(_unlike(_ABOUT, record["about"], "about."))


def _unlike(
    rules: Mapping[str, tuple[str, Check]], record: Mapping[str, Any], inside: str
) -> Iterator[str]:
    for name, (what, check) in rules.items():
        if name in record and not check(record[name]):
            yield f"{inside}{name} must be {what}, not {shortened_repr(record[name])}"


def _contradictions(meta: Meta) -> list[str]:
    """What does not go together, a sentence each."""
    problems = []
    if meta.model is None and meta.source is None:
        problems.append("it names no trunk")
    if meta.source is not None and meta.fingerprint is None:
        problems.append("a source needs its fingerprint")
    if meta.model is not None:
        if meta.model.vocab_size <= END_OF_TEXT:
            problems.append(f"GPT-2 has {END_OF_TEXT + 1:,} tokens, not {meta.model.vocab_size:,}")
        if (meta.reading.pad_to or 0) > meta.model.context_length:
            problems.append(f"it reads {meta.model.context_length:,} tokens, and pads to more")
    classes = meta.about.get("classes", meta.labels)
    if len(classes) != len(meta.labels):
        problems.append(f"it has {len(meta.labels)} labels, and {len(classes)} classes")
    return problems
