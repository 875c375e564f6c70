"""A language model by its name: on this machine, or behind an API."""

from clfcore.errors import TuneshotError
from clfcore.evaluation.provenance import model_files
from icl.lm.base import LM
from icl.shared import shared

API = "api:"
BF16 = "bf16:"


def lm_record(name: str, base_url: str | None = None) -> dict[str, str | None]:
    """What a record says of a language model beside its name: what another one may have, too.

    Of a model behind an API the address that is asked, whatever named it; of a local one a hash of
    its files, where the name is a path.

    Raises:
        TuneshotError: as ``open_lm``, for a model behind an API.
    """
    if name.startswith(API):
        from icl.lm.api import ApiLM

        return {"base_url": ApiLM(name.removeprefix(API), base_url=base_url).base_url}
    return {"files": model_files(name.removeprefix(BF16))}


def open_lm(name: str | None = None, base_url: str | None = None, retries: int = 5) -> LM:
    """The language model called ``name``; the same object, if it is the last that was opened.

    Args:
        name: a folder, a GGUF file or a name on Hugging Face, after ``bf16:`` to have it in
            bfloat16; ``api:`` and a name of LiteLLM's (``api:openai/gpt-4o-mini``,
            ``api:ollama/llama3.2``); ``None``: the bundled one.
        base_url: of a server that speaks OpenAI's protocol, such as vLLM's or llama.cpp's.
        retries: how often a request to an API is repeated, see ``ApiLM``.

    Raises:
        TuneshotError: it cannot be loaded.
    """
    if name is not None and name.startswith(API):
        from icl.lm.api import ApiLM

        return shared(ApiLM, name.removeprefix(API), base_url=base_url, retries=retries)
    if base_url is not None:
        raise TuneshotError(
            f"a base URL belongs to a model behind an API; name one, for example {API}openai/local"
        )
    from icl.lm.local import LocalLM

    if name is not None and name.startswith(BF16):
        return shared(LocalLM, name.removeprefix(BF16), "bfloat16")
    return shared(LocalLM, name)
