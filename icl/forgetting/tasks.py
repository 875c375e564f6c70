"""The new task and another one in prompts, and the texts that neither is about."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from clfcore.alignment.measures import perplexity
from clfcore.data.draw import draw
from clfcore.data.messages import LabelledMessages, load_messages
from clfcore.data.split import content_hash, grouped_stratified_split
from clfcore.errors import TuneshotError
from clfcore.forgetting.classifier import SecondTask
from clfcore.forgetting.language_model import PromptedTask, Question, judged
from clfcore.forgetting.settings import ForgettingConfig
from clfcore.forgetting.texts import BUNDLED, Texts
from clfcore.types import Example, OnProgress, ignore
from icl.few_shot import FewShot
from icl.instruction import pairs_of
from icl.lm.local import LocalLM
from icl.lm.open import open_lm
from icl.prompt.tasks import Task, task_from_file

EXAMPLES = 4  # in the prompts of the other task


@dataclass(frozen=True, slots=True)
class NewTask:
    """The new task's messages, and the texts that it is not about.

    Attributes:
        task: its labels and its prompt's format.
        pool: messages to learn from.
        questions: others, to measure its accuracy on.
        texts: what may be forgotten, of a language model.
        known: the old task's messages, of a classifier.
    """

    task: Task
    pool: Sequence[Example]
    questions: Sequence[Example]
    texts: Texts
    known: LabelledMessages | None = None

    @property
    def inputs(self) -> dict[str, str]:
        """What tells one from another."""
        texts = self.texts
        known = {} if self.known is None else {"known": content_hash(self.known.examples)}
        return {
            **known,
            "pool": content_hash(self.pool),
            "questions": content_hash(self.questions),
            "template": self.task.template.digest,
            "texts": content_hash(
                [*texts.shown, *texts.asked, *(Example(text, "other") for text in texts.other)]
            ),
        }


def second_task(new: NewTask, config: ForgettingConfig, seed: int) -> SecondTask:
    """The new task beside the one that a classifier knows."""
    known = new.known
    assert known is not None
    split = known.split()
    old, old_asked = ([known.examples[row] for row in rows] for rows in (split.train, split.test))
    return SecondTask(
        draw(new.pool, config.messages, balanced=True, seed=seed),
        draw(new.questions, config.test, balanced=True, seed=seed),
        draw(old, config.messages, balanced=True, seed=seed),
        draw(old_asked, config.measured, balanced=True, seed=0),
    )


def prompted_task(
    lm_name: str,
    new: NewTask,
    config: ForgettingConfig,
    seed: int,
    on_progress: OnProgress = ignore,
) -> PromptedTask:
    """The new task in prompts without examples, and the other one in prompts with four.

    The other task is whether a text is news or from a story; perplexity is that of news, some of
    which may be replayed, and of texts that never are.

    Raises:
        TuneshotError: labels that are not told apart by one token.
    """
    lm = open_lm(f"fp32:{lm_name}", chat=False)
    zero = FewShot(new.task, "zero", lm=lm, k=0, chat=False).fit(new.pool, read_prior=False)
    learned = draw(new.pool, config.messages, balanced=True, seed=seed)
    asked = draw(new.questions, config.test, balanced=True, seed=seed)
    texts = new.texts
    other = FewShot(
        task_from_file(BUNDLED), "balanced_random", lm=lm, k=EXAMPLES, chat=False, seed=seed
    ).fit(texts.shown, read_prior=False)
    others = questions_of(other, draw(texts.asked, config.questions, balanced=True, seed=0))
    return PromptedTask(
        pairs_of(zero, learned, on_progress),
        questions_of(zero, asked),
        texts.replayed,
        {
            "perplexity_replayed": _perplexity_of(texts.like_replayed[: config.measured]),
            "perplexity_other": _perplexity_of(_drawn(texts.other, config.measured)),
            "few_shot_accuracy": lambda network, tokenizer: judged(network, others)[1],
        },
    )


def questions_of(few_shot: FewShot, examples: Sequence[Example]) -> list[Question]:
    """The prompts of ``few_shot`` about some messages, and the token that tells each label.

    Raises:
        TuneshotError: one token does not tell them apart.
    """
    lm = few_shot.lm
    assert isinstance(lm, LocalLM)
    questions = []
    for example in examples:
        prompt = few_shot.prompt(example.text).text
        words = few_shot.task.template.words_for(example.text)
        read = [lm.tokens(prompt, words[label][0]) for label in few_shot.labels]
        answers = [target for _, target in read]
        columns = zip(*answers, strict=False)  # what all begin with belongs to the prompt
        alike = [each[0] for each in takewhile(lambda column: len(set(column)) == 1, columns)]
        firsts = [answer[len(alike)] for answer in answers if len(answer) > len(alike)]
        if len(set(firsts)) < len(answers):
            raise TuneshotError(
                f"{lm.name} cannot be asked for the labels of {few_shot.task.name} by one token: "
                "some begin alike; name them otherwise"
            )
        ids = (*read[0][0], *alike)
        questions.append(Question(ids, tuple(firsts), few_shot.labels.index(example.label)))
    return questions


def _perplexity_of(texts: Sequence[str]) -> Callable[[Any, Any], float]:
    return lambda network, tokenizer: perplexity(network, tokenizer, texts)


def _drawn(texts: Sequence[str], most: int) -> list[str]:
    return [e.text for e in draw([Example(t, "") for t in texts], most, balanced=False, seed=0)]


def bundled_task() -> tuple[Task, list[Example], list[Example]]:
    """The new task of gpt2-mini, which knows spam: is it news, or from a story?"""
    task = task_from_file(BUNDLED)
    examples = load_messages(BUNDLED).examples
    split = grouped_stratified_split(examples)
    pool, questions = (
        [examples[row] for row in rows] for rows in (split.train, (*split.val, *split.test))
    )
    return task, pool, questions
