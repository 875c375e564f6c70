"""Where the files of a model are: a name that is none is refused before torch is imported."""

import json
import os
from pathlib import Path

from clfcore.config import DEFAULT_LM
from clfcore.data.hub import answers
from clfcore.errors import TuneshotError
from clfcore.model.spec import GPT_PRESETS, MINI
from clfcore.paths import expanded

# The published models; any other name is taken as a Hugging Face repository or a local folder.
REPOSITORIES = {
    name: f"openai-community/{name}" for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
}
_PATHS = ("/", ".", "~")  # what begins like this is no name on Hugging Face


def check_start(base: str, weights: str) -> None:
    """Refuses a start of fine-tuning that there is not; loads nothing.

    Args:
        base: as for ``load_base``.
        weights: one of ``WEIGHTS``.

    Raises:
        TuneshotError: ``base`` names no model, or it is not the one that can be distilled.
    """
    if weights == "distilled" and base != MINI:
        raise TuneshotError(
            f"only {MINI} is distilled here, and the base is {base}; choose weights pretrained, or "
            f"the base {MINI}"
        )
    if weights != "random" or base not in GPT_PRESETS:  # of random ones the shape is enough
        check_source(base)


def check_source(source: str) -> None:
    """Refuses what names no model, on this machine or on Hugging Face; loads nothing.

    Args:
        source: as for ``load_base`` and ``load_transformer``.

    Raises:
        TuneshotError: it names none, or Hugging Face cannot be reached.
    """
    if source in (MINI, DEFAULT_LM):
        return
    if not source.strip():
        raise TuneshotError("the model has no name; give a folder, a GGUF file or a name")
    if source.endswith(".gguf"):
        if not os.path.isfile(expanded(source)):
            raise TuneshotError(f"there is no file {source}; give a GGUF file, a folder or a name")
        return
    find_file(source, "config.json")


def find_file(source: str, filename: str) -> Path:
    """A file of a model, from this machine if it is here, else downloaded.

    Args:
        source: a key of ``REPOSITORIES``, another repository, or a folder.
        filename: its name there.

    Raises:
        TuneshotError: it is not there.
    """
    folder = expanded(source)
    if os.path.isdir(folder):
        if not os.path.exists(folder / filename):
            raise TuneshotError(f"{folder} holds no {filename}; expected a Hugging Face folder")
        return folder / filename
    if source.startswith(_PATHS) or os.path.exists(folder) or source.count("/") > 1:
        what = "a file, not a folder" if os.path.exists(folder) else "not there"
        raise TuneshotError(
            f"{folder} is {what}; give a Hugging Face folder (config.json, model.safetensors, the "
            "tokenizer), or a name there"
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository = REPOSITORIES.get(source, source)
    try:
        try:
            return Path(hf_hub_download(repository, filename, local_files_only=True))
        except LocalEntryNotFoundError:
            if not answers(repository, "model"):  # left to itself, the library asks six times
                raise
            return Path(hf_hub_download(repository, filename))
    except (HfHubHTTPError, OSError, ValueError) as error:
        why = type(error).__name__
        if isinstance(error, LocalEntryNotFoundError):
            why = "it is not on this machine, and Hugging Face cannot be reached"
        raise TuneshotError(
            f"cannot get {filename} of {repository!r} ({why}); choose one of "
            f"{', '.join(REPOSITORIES)}, or download it elsewhere and pass the folder"
        ) from error


def read_json(path: Path) -> dict[str, object]:
    """A ``config.json``.

    Raises:
        TuneshotError: it is no JSON object.
    """
    try:
        loaded = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise TuneshotError(f"{path} cannot be read as JSON") from error
    if not isinstance(loaded, dict):
        raise TuneshotError(f"{path} is not a model configuration")
    return loaded
