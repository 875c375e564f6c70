"""A language model by its name: on this machine, or behind an API."""

from typing import Any

from clfcore.config import DEFAULT_LM
from clfcore.errors import TuneshotError
from clfcore.evaluation.provenance import model_files
from clfcore.weights.source import check_source
from icl.lm.base import LM
from icl.lm.connection import DEFAULT_CONNECTION, Connection, from_environment
from icl.lm.local import Dtype, native_dtype
from icl.shared import shared

API = "api:"
BF16, FP32 = "bf16:", "fp32:"
_DTYPES: dict[str, Dtype] = {BF16: "bfloat16", FP32: "float32"}


def with_dtype(name: str) -> str:
    """The name as records write it: of a model on this machine, with the number format it has here.

    So a record made where bfloat16 is the default is never taken for one in float32.
    """
    if name.startswith((API, *_DTYPES)):
        return name
    return (BF16 if native_dtype() == "bfloat16" else FP32) + name


def without_dtype(name: str) -> str:
    """The model itself: a folder, a file or a name on Hugging Face."""
    return name.removeprefix(BF16 if name.startswith(BF16) else FP32)


def lm_record(name: str, connection: Connection = DEFAULT_CONNECTION) -> dict[str, Any]:
    """What a record says of a language model beside its name: what another one may have, too.

    Of a model behind an API the address that is asked, whatever named it, and whether for
    log-probabilities; of a local one a hash of its files, where the name is a path.

    Raises:
        TuneshotError: as ``open_lm``, for a model behind an API.
    """
    if name.startswith(API):
        from icl.lm.api import ApiLM

        settings = {**from_environment(), **connection.given}
        lm = ApiLM(name.removeprefix(API), **settings)
        return {"base_url": lm.base_url, "logprobs": settings.get("logprobs", True)}
    return {"files": model_files(without_dtype(name))}


def open_lm(
    name: str | None = None,
    base_url: str | None = None,
    *,
    chat: bool | None = None,
    **reached: Any,  # noqa: ANN401
) -> LM:
    """The language model called ``name``; the same object, if it is the last that was opened.

    Args:
        name: a folder, a GGUF file or a name on Hugging Face, after ``bf16:`` or ``fp32:`` to
            have it in bfloat16 or float32, see ``LocalLM``; ``api:`` and a name of LiteLLM's
            (``api:openai/gpt-4o-mini``, ``api:ollama/llama3.2``); ``None``: the bundled one.
        base_url: of a server that speaks OpenAI's protocol, such as vLLM's or llama.cpp's.
        chat: whether its prompts will be chats, as far as that is known; see ``ApiLM``.
        reached: how the server of a model behind an API is reached, see ``ApiLM``: ``timeout``,
            ``retries``, …; else as the environment says, see ``icl/lm/connection.py``.

    Raises:
        TuneshotError: it cannot be loaded.
    """
    if name is not None and name.startswith(API):
        from icl.lm.api import ApiLM

        settings = {**from_environment(), **reached}
        return shared(ApiLM, name.removeprefix(API), base_url=base_url, chat=chat, **settings)
    name = name or DEFAULT_LM
    _check_name(name, base_url)
    from icl.lm.local import LocalLM

    name = with_dtype(name)
    dtype = next(dtype for prefix, dtype in _DTYPES.items() if name.startswith(prefix))
    return shared(LocalLM, without_dtype(name), dtype)


def check_lm(name: str, base_url: str | None = None) -> None:
    """Refuses, before anything is imported, what ``open_lm`` could not open.

    Raises:
        TuneshotError: it names no model, or a base URL does not belong to it.
    """
    _check_name(name, base_url)
    if not name.startswith(API):
        check_source(without_dtype(name))


def no_weights_here(name: str) -> TuneshotError:
    """The error for a model behind an API where one is to be tuned."""
    return TuneshotError(
        f"{name} has no weights on this machine that could be tuned; name a folder, a GGUF file or "
        "a model on Hugging Face"
    )


def _check_name(name: str, base_url: str | None) -> None:
    """Refuses a number format or an address for a model that can have none.

    Raises:
        TuneshotError: the name has two formats, or one for a model behind an API; or a base URL
            is given for a model on this machine.
    """
    model = without_dtype(name)
    if model != name and model.startswith((API, *_DTYPES)):
        said = name.removesuffix(model)
        why = "is for models on this machine" if model.startswith(API) else "is not the only one"
        raise TuneshotError(f"the number format {said} before {model} {why}; name {model}")
    if base_url is not None and not name.startswith(API):
        raise TuneshotError(
            "a base URL belongs to a model behind an API; name one, for example "
            f"--lm {API}openai/local"
        )
