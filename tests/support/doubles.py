"""Small, honest stand-ins for the few-shot tests: real interfaces, no downloads, milliseconds."""

import itertools
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clfcore.data.split import duplicate_groups
from clfcore.types import Example
from icl.few_shot import FewShot
from icl.lm.base import (
    Generation,
    PromptText,
    PromptTooLongError,
    ReplyToken,
    Scored,
    checked_prompt_limit,
)
from icl.pool.pool import Pool
from icl.prompt.prompt import as_text
from icl.prompt.tasks import TASKS

EXAMPLES = [
    Example("win a free prize now", "spam"),
    Example("claim your cash prize today", "spam"),
    Example("free entry in our weekly draw", "spam"),
    Example("urgent your account is locked, click here", "spam"),
    Example("are we still on for dinner tonight", "ham"),
    Example("running late, see you at the station", "ham"),
    Example("thanks for the lovely present", "ham"),
    Example("can you pick up some milk", "ham"),
    Example("the meeting moved to three", "ham"),
    Example("happy birthday to you", "ham"),
]


class HashedWords:
    """Bag of hashed words, made unit length: texts that share words are similar."""

    name = "hashed-words"
    width = 64

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), self.width), np.float32)
        for row, text in enumerate(texts):
            for word in ["", *text.casefold().split()]:
                column = zlib.crc32(word.encode("utf-8", "surrogatepass")) % self.width
                vectors[row, column] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_pool(messages: Sequence[str], labels: Sequence[str] | None = None) -> Pool:
    """A pool without the disk cache; all ham, if nothing else is said."""
    return Pool(
        tuple(messages),
        tuple(labels or ["ham"] * len(messages)),
        HashedWords().embed(messages),
        duplicate_groups(messages),
    )


class CountingLM:
    """Tokens are characters; says spam as often as the last shown label does."""

    name = "counting"
    scores = True
    prefers_chat = False

    def __init__(self, max_prompt_tokens: int = 10_000) -> None:
        self.max_prompt_tokens = max_prompt_tokens
        self.prompts: list[str] = []

    def prompt_limit(self, wanted: int = 0) -> int:
        return checked_prompt_limit(
            self.name, wanted or self.max_prompt_tokens, self.max_prompt_tokens, room=0
        )

    def count_tokens(self, prompt: PromptText) -> int:
        return len(as_text(prompt))

    def check(self, prompt: PromptText, continuations: Sequence[str]) -> None:
        pass

    def read(
        self, prompt: PromptText, continuations: Sequence[str], since: int | None = None
    ) -> Scored:
        text = as_text(prompt)
        self.prompts.append(text)
        return Scored(
            tokens=tuple((row,) for row, _ in enumerate(continuations)),
            log_probabilities=tuple(
                (float(np.log(1 + text.count("Type:" + word))),) for word in continuations
            ),
            prompt=() if since is None else (-1.0,) * len(text[since:]),
        )

    def next_tokens(self, prompt: PromptText) -> np.ndarray:
        """Expects the words of the message, whatever the examples were."""
        text = as_text(prompt)
        self.prompts.append(text)
        (vector,) = HashedWords().embed([text.rpartition("SMS: ")[2]])
        return (vector - np.log(np.exp(vector).sum())).astype(np.float32)


class LastLabelLM(CountingLM):
    """Says what the last example says, two to one: the order is all that matters."""

    def read(
        self, prompt: PromptText, continuations: Sequence[str], since: int | None = None
    ) -> Scored:
        text = as_text(prompt)
        self.prompts.append(text)
        last = max(continuations, key=lambda word: text.rfind("Type:" + word))
        scores = [float(np.log(2.0 if word == last else 1.0)) for word in continuations]
        return Scored(tuple((i,) for i, _ in enumerate(scores)), tuple((s,) for s in scores))


class AnsweringLM:
    """A model behind an API: it answers in words, and its server counts more tokens than we do.

    Args:
        reply: what it always says.
        written: the tokens of that.
        window: tokens that its server reads, two for each character.
    """

    name = "answering"
    scores = False
    prefers_chat = True

    def __init__(
        self, reply: str = "spam", written: Sequence[ReplyToken] = (), window: int = 1_000_000
    ) -> None:
        self.reply, self.written, self.window = reply, tuple(written), window
        self.prompts: list[str] = []

    def prompt_limit(self, wanted: int = 0) -> int:
        return wanted or 8192

    def count_tokens(self, prompt: PromptText) -> int:
        return len(as_text(prompt))

    def generate(
        self, prompt: PromptText, max_tokens: int = 32, stop: Sequence[str] = ()
    ) -> Generation:
        self.prompts.append(as_text(prompt))
        counted = 2 * self.count_tokens(prompt)
        if counted > self.window:
            raise PromptTooLongError("answering finds the prompt too long", self.window / counted)
        return Generation(self.reply, counted, 1, None, self.written)


class Sayer(AnsweringLM):
    """Gives these replies in turn, again and again."""

    def __init__(self, *replies: str) -> None:
        super().__init__()
        self._replies = itertools.cycle(replies)

    def generate(
        self, prompt: PromptText, max_tokens: int = 32, stop: Sequence[str] = ()
    ) -> Generation:
        self.reply = next(self._replies)
        return super().generate(prompt, max_tokens, stop)


def save_tiny_lm(folder: Path, kind: str = "gpt2", whole_words: bool = True) -> Path:
    """A random causal LM of transformers, with a byte-level BPE that knows a few words or none."""
    import torch  # only now: transformers takes seconds, and most tests do without
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
    from transformers import PreTrainedTokenizerFast as FastTokenizer

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        ["Label: ham Label: spam Type: ham Type: spam ", "\n\n"] * 5 if whole_words else [],
        trainers.BpeTrainer(
            vocab_size=320,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<|end|>"],
            show_progress=False,
        ),
    )
    torch.manual_seed(0)
    sizes = {"vocab_size": tokenizer.get_vocab_size(), "bos_token_id": 0, "eos_token_id": 0}
    if kind == "gpt2":
        model = GPT2LMHeadModel(
            GPT2Config(
                **sizes, n_positions=1024, n_embd=32, n_layer=2, n_head=2, initializer_range=0.5
            )
        )
    else:
        model = LlamaForCausalLM(
            LlamaConfig(
                **sizes, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024,
                initializer_range=0.5,
            )
        )  # fmt: skip
    model.save_pretrained(folder)
    FastTokenizer(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(folder)
    return folder


def save_tiny_trunk(folder: Path) -> Path:
    """A GPT-2 of random weights as transformers writes it, to be fine-tuned."""
    import torch
    from transformers import GPT2Config, GPT2Model

    torch.manual_seed(0)
    shape = GPT2Config(n_positions=32, n_embd=32, n_layer=2, n_head=2, initializer_range=0.2)
    GPT2Model(shape).save_pretrained(folder)
    return folder


TASK = TASKS["sms_spam"]
POOL = make_pool([e.text for e in EXAMPLES], [e.label for e in EXAMPLES])


def few_shot(lm=None, pool=POOL, read_prior=True, **settings):
    """Of ten messages, four and as many of each label are shown, where nothing else is said."""
    settings = {"k": 4, "balance": "equal", **settings}
    made = FewShot(TASK, lm=lm or CountingLM(), embedder=HashedWords(), **settings)
    return made.fit(pool, read_prior=read_prior)
