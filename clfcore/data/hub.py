"""Labelled messages out of a dataset on Hugging Face, or of its copy on this machine."""

import re
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from clfcore.data.columns import find_columns
from clfcore.data.tables import FORMS, to_examples
from clfcore.errors import TuneshotError, missing_extra_explained
from clfcore.types import Example

if TYPE_CHECKING:
    from datasets import Dataset


DEFAULT_SPLIT = "train"
_NAME = re.compile(r"\w[\w.-]*")
_TIMEOUT_SECONDS = 10.0


@missing_extra_explained("a data set on Hugging Face")
def read_dataset(
    source: str, text_column: str | None = None, label_column: str | None = None
) -> list[Example]:
    """Labelled messages from a dataset on Hugging Face.

    Without a network, or with ``HF_HUB_OFFLINE=1``, a dataset that was loaded before comes from
    the cache of the ``datasets`` library.

    Args:
        source: ``name``, ``owner/name`` or ``owner/name/config``, and perhaps ``:split`` (default
            ``train``; ``train[:1000]`` is understood too).
        text_column: name of the column with the messages; default: ``text``, or an alias.
        label_column: name of the column with the labels; default: ``label``, or an alias. Labels
            stored as numbers become their names where the dataset has names for them.

    Raises:
        TuneshotError: no such dataset, no answer, or not a table of messages and labels.
    """
    name, config, split = _parts_of(source)
    dataset = _load(source, name, config, split)
    header = dataset.column_names
    columns = find_columns(header, {"text": text_column, "label": label_column}, source)
    values = [column_values(dataset, header[column]) for column in columns.values()]
    return to_examples(enumerate(zip(*values, strict=True), start=1), source)


def _parts_of(source: str) -> tuple[str, str | None, str]:
    """Repository, configuration and split; refused if no dataset can be called that."""
    path, _, split = source.partition(":")
    parts = path.split("/")
    possible = all(_NAME.fullmatch(part) for part in parts) and len(parts) <= 3
    if not possible or Path(path).suffix.lower() in FORMS:
        raise _not_found(source, "no dataset is called that")
    return "/".join(parts[:2]), parts[2] if len(parts) == 3 else None, split or DEFAULT_SPLIT


def _load(source: str, name: str, config: str | None, split: str) -> "Dataset":
    import datasets  # these two: a second; `--help` should not wait
    from huggingface_hub import constants

    if (Path(datasets.__file__).parent / "packaged_modules" / name).is_dir():
        raise _not_found(source, f"{name!r} is a file format there, not a dataset")
    offline = constants.HF_HUB_OFFLINE
    try:
        # Left to itself, the library asks an unreachable server for half a minute.
        constants.HF_HUB_OFFLINE = offline or not answers(name, "dataset")
        return datasets.load_dataset(name, config, split=split)
    except Exception as error:  # other people's files: whatever goes wrong, it is not our bug
        why = shorten(f"{type(error).__name__}: {error}", 400, placeholder=" …")
        answer = "cannot be reached" if constants.HF_HUB_OFFLINE else "does not give it"
        raise _not_found(source, f"Hugging Face {answer} ({why})") from error
    finally:
        constants.HF_HUB_OFFLINE = offline


def answers(name: str, kind: str) -> bool:
    """Whether Hugging Face can be reached; a refusal is an answer, too.

    Args:
        name: what it is asked about.
        kind: ``"dataset"`` or ``"model"``.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().repo_info(name, repo_type=kind, timeout=_TIMEOUT_SECONDS)
    except HfHubHTTPError:
        return True
    except Exception:  # which library's connection error this is depends on the version
        return False
    return True


def column_values(dataset: "Dataset", column: str) -> list[object]:
    """A column's values; a class label's name in place of its number, None in place of -1."""
    from datasets import ClassLabel

    values, feature = list(dataset[column]), dataset.features[column]
    if not isinstance(feature, ClassLabel) or not feature.names:
        return values
    return [None if value is None or value < 0 else feature.int2str(value) for value in values]


def _not_found(source: str, why: str) -> TuneshotError:
    return TuneshotError(
        f"{source!r} is not a file or folder here, and {why}; give a table ({', '.join(FORMS)}), "
        "a folder with a sub-folder of .txt files for each class, or a Hugging Face dataset: "
        "owner/name, owner/name:split or owner/name/config:split"
    )
