"""Instruction tuning in the prompt's own format: what a prompt asks, and what is to be written.

Every labelled message becomes a pair: the prompt that asks about it, as ``FewShot`` makes it, and
its label as an example would show it. With examples in the prompt, the others' messages are
shown: no selector shows a copy of the message that is asked about.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clfcore.training.instruction.pairs import Pair
from clfcore.training.instruction.recipe import TunedLM, tune_language_model
from clfcore.training.instruction.settings import InstructionConfig
from clfcore.training.resume import ResumableRun
from clfcore.types import Example, OnProgress, ignore
from icl.few_shot import FewShot
from icl.lm.base import PromptText
from icl.lm.local import LocalLM
from icl.lm.open import no_weights_here
from icl.prompt.template import PARAGRAPH_BREAK, Template

if TYPE_CHECKING:
    from accelerate import Accelerator


def instruct(
    few_shot: FewShot,
    lm: str,
    learned: Sequence[Example],
    val: Sequence[Example],
    config: InstructionConfig,
    *,
    on_progress: OnProgress = ignore,
    accelerator: "Accelerator | None" = None,
    resumable: ResumableRun | None = None,
) -> TunedLM:
    """Tunes a language model to write the labels after the prompts of ``few_shot``.

    Args:
        few_shot: fitted on ``learned``; its own language model only counts tokens and is not
            changed.
        lm: the name of the one to tune, see ``load_transformer``.
        learned: messages to learn from.
        val: messages to validate on.
        config: the settings.
        on_progress: called with (stage, done, total, figures).
        accelerator: on which device.
        resumable: where the state of the run is kept, and resumed from.

    Raises:
        TuneshotError: see ``pairs_of`` and ``tune_language_model``.
    """
    prompts = pairs_of(few_shot, [*learned, *val], on_progress)
    return tune_language_model(
        lm, prompts[: len(learned)], prompts[len(learned) :], config,
        on_progress=on_progress, accelerator=accelerator, resumable=resumable,
    )  # fmt: skip


def pairs_of(
    few_shot: FewShot, examples: Sequence[Example], on_progress: OnProgress = ignore
) -> list[Pair]:
    """A pair of each message, in the tokens of the language model.

    Args:
        few_shot: fitted on the messages that may be shown, with a language model on this machine.
        examples: labelled messages; their weights count.
        on_progress: called with (stage, done, total, figures).

    Raises:
        TuneshotError: the language model is behind an API, or joins a prompt's end and a label in
            one token.
    """
    lm, template = few_shot.lm, few_shot.task.template
    if few_shot.votes or not isinstance(lm, LocalLM):
        raise no_weights_here("a vote" if few_shot.votes or lm is None else lm.name)
    pairs = []
    for done, example in enumerate(examples, start=1):
        prompt = few_shot.prompt(example.text).text
        ids, target = lm.tokens(prompt, answer(template, prompt, example))
        pairs.append(Pair(tuple(ids), tuple(target), example.weight))
        on_progress("prompts", done, len(examples), "")
    return pairs


def answer(template: Template, prompt: PromptText, example: Example) -> str:
    """What is to be written after ``prompt``: the label's word and what ends it in an example."""
    written = template.words_for(example.text)[example.label][0] + template.after_label
    return written + PARAGRAPH_BREAK[0] if isinstance(prompt, str) else written.strip()
