"""Where the files of a model are: a name that is none is refused before torch is imported."""

import os
from pathlib import Path

from clfcore.config import DEFAULT_LM
from clfcore.data.hub import answers
from clfcore.errors import TuneshotError
from clfcore.model.spec import GPT_PRESETS, MINI
from clfcore.paths import expanded
from clfcore.weights.untrusted.files import check_file_of
from clfcore.weights.untrusted.folder import check_folder, check_folder_finite
from clfcore.weights.untrusted.gguf import check_gguf

# The published models; any other name is taken as a Hugging Face repository or a local folder.
REPOSITORIES = {
    name: f"openai-community/{name}" for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
}
_PATHS = ("/", ".", "~")  # what begins like this is no name on Hugging Face


def check_start(base: str, weights: str, network: bool = True) -> None:
    """Refuses a start of fine-tuning that there is not; loads nothing.

    Args:
        base: as for ``load_base``.
        weights: one of ``WEIGHTS``.
        network: whether it may be downloaded.

    Raises:
        TuneshotError: ``base`` names no model, or it is not the one that can be distilled.
    """
    if weights == "distilled" and base != MINI:
        raise TuneshotError(
            f"only {MINI} is distilled here, and the base is {base}; choose weights pretrained, or "
            f"the base {MINI}"
        )
    if weights != "random" or base not in GPT_PRESETS:  # of random ones the shape is enough
        check_source(base, network)


def check_source(source: str, network: bool = True) -> None:
    """Refuses what names no model, on this machine or on Hugging Face; loads nothing.

    Args:
        source: as for ``load_base`` and ``load_transformer``.
        network: whether it may be downloaded.

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
        check_gguf(expanded(source))
        return
    if os.path.isdir(folder := expanded(source)):
        check_folder(folder)
        check_folder_finite(folder)
    find_file(source, "config.json", network)


def check_trusted(source: str, folder: Path) -> None:
    """Refuses a trunk that a stranger's checkpoint may not have loaded.

    What this program brings, what was downloaded before, and what lies in the checkpoint's own
    folder may be; another folder, or the network, only where a person said so.

    Args:
        source: that the checkpoint in ``folder`` names, as for ``load_base``.
        folder: of the checkpoint.

    Raises:
        TuneshotError: it may not.
    """
    if source in (MINI, DEFAULT_LM) or _is_downloaded(source):
        return
    if not is_path(source):
        where = "not on this machine"
    elif expanded(source).resolve().is_relative_to(folder.resolve()):
        return
    else:
        where = "outside of its folder"
    raise TuneshotError(
        f"{folder} needs the model {source!r}, which is {where}; if you know who made it, allow "
        "that with --trust-source (in Python: trust_source=True)"
    )


def _is_downloaded(source: str) -> bool:
    return not is_path(source) and found_folder(REPOSITORIES.get(source, source)) is not None


def found_folder(place: str | Path) -> Path | None:
    """Where the files of a model lie, if they are here.

    Args:
        place: a folder, or a name on Hugging Face.
    """
    if os.path.isdir(place):
        return Path(place)
    from huggingface_hub import try_to_load_from_cache

    try:
        kept = try_to_load_from_cache(str(place), "config.json")
    except ValueError:  # no name on Hugging Face
        return None
    return Path(kept).parent if isinstance(kept, str) else None


def is_path(source: str) -> bool:
    """Whether a model is named by a place on this machine, and not as on Hugging Face."""
    return (
        os.path.exists(expanded(source))
        or source.startswith(_PATHS)
        or source.count("/") > 1
        or source.endswith(".gguf")
    )


def find_file(source: str, filename: str, network: bool = True) -> Path:
    """A file of a model, from this machine if it is here, else downloaded.

    Args:
        source: a key of ``REPOSITORIES``, another repository, or a folder.
        filename: its name there.
        network: whether it may be downloaded.

    Raises:
        TuneshotError: it is not there.
    """
    folder = expanded(source)
    if os.path.isdir(folder):
        if not os.path.exists(folder / filename):
            raise TuneshotError(f"{folder} holds no {filename}; expected a Hugging Face folder")
        return check_file_of(folder, filename)
    if is_path(source):
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
            # Left to itself, the library asks six times.
            if not network or not answers(repository, "model"):
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
