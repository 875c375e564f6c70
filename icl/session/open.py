"""Opens a session: loads models and pools when they are first needed."""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache, lru_cache, partial
from pathlib import Path

from clfcore.config import DEFAULT_LM
from clfcore.data.columns import Columns
from clfcore.data.messages import load_pool
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.fine_tuned import FineTuned
from clfcore.weights.meta import BUNDLED, trained_columns
from icl.few_shot import FewShot
from icl.lm.base import LM
from icl.lm.open import open_lm
from icl.pool.embed import SentenceEmbedder
from icl.pool.pool import Pool
from icl.prompt.tasks import TASKS
from icl.recipe import Recipe
from icl.selectors.table import SELECTORS
from icl.session.session import Model, Session
from icl.session.settings import NOTHING_CHOSEN, Settings
from icl.settings import FewShotConfig


def open_session(
    checkpoints: Sequence[Path] = (),
    pool: Path | None = None,
    lms: Sequence[str] = (DEFAULT_LM,),
    folder: Path | None = None,
    chat: bool | None = None,
    prompt_tokens: int = 0,
    recipe: Path | None = None,
    trust_source: bool = False,
) -> Session:
    """The two methods, each loaded when first asked.

    Args:
        checkpoints: fine-tuned models; by default the bundled one.
        pool: labelled messages of the task ``sms_spam``, see ``load_pool``; its columns may be
            those that the first of the checkpoints was trained on.
        lms: language models that read the prompt, at least one, see ``open_lm``.
        folder: data of the other tasks, see ``Task.load``; without it, they have no pool.
        chat: whether prompts are chats, see ``FewShotConfig``.
        prompt_tokens: how long they may be, see ``FewShotConfig``.
        recipe: settings of a visitor who has chosen nothing, see ``icl tune``. The other two
            arguments win.
        trust_source: of the checkpoints, see ``FineTuned.load``.

    Raises:
        TuneshotError: no recipe, or one that is not for a page; no such length of a prompt. What
            else is missing is said when it is asked for: the other method answers all the same.
    """
    FewShotConfig(prompt_tokens=prompt_tokens)  # says what is wrong with it
    usual = NOTHING_CHOSEN if recipe is None else Settings.of_recipe(Recipe.read(recipe))
    embedder = SentenceEmbedder()
    folders = {path.name: path for path in checkpoints or [BUNDLED]}
    load = lru_cache(maxsize=8)(partial(FineTuned.load, trust_source=trust_source))

    def checkpoint(settings: Settings) -> Path:
        name, labels = settings.checkpoint, set(TASKS[settings.task].labels)
        if name and name not in folders:
            raise unknown_choice("checkpoint", name, folders)

        chosen_first = sorted(folders, key=lambda each: each != name)
        fitting = next((n for n in chosen_first if set(load(folders[n]).labels) == labels), None)
        if fitting is None:
            raise TuneshotError(
                f"no model here was fine-tuned for {settings.task}; make one (clf train --data "
                f"FILE --out runs/{settings.task}) and start with "
                f"TUNESHOT_CHECKPOINT=runs/{settings.task}"
            )
        if name and fitting != name:
            raise TuneshotError(f"{name} was not fine-tuned for {settings.task}; choose {fitting}")
        return folders[fitting]

    def fine_tuned(settings: Settings) -> Model:
        model = load(settings.trained or checkpoint(settings))
        return Model(model.name, model)

    @cache
    def pool_of(task: str) -> Pool:
        if task == "sms_spam":
            columns = Columns().remembering(trained_columns(next(iter(folders.values()))))
            messages = load_pool(pool, columns.text_column, columns.label_column)
            return Pool.build(messages.examples, embedder)
        if folder is None:  # a chat asks no other machine
            raise TuneshotError(
                f"the data of {task} is not at hand; start with TUNESHOT_FOLDER=FOLDER, which has "
                f"a sub-folder {task} with its tables"
            )
        return Pool.build(TASKS[task].load("train", folder), embedder)

    load_lm = lru_cache(maxsize=4)(
        partial(open_lm, chat=usual.chat if chat is None else chat, retries=1)
    )  # people wait for it

    def language_model(settings: Settings) -> LM:
        if settings.lm and settings.lm not in lms:
            raise unknown_choice("language model", settings.lm, lms)
        return load_lm(settings.lm or lms[0])

    @lru_cache(maxsize=16)  # some selectors take a second to look at the pool
    def prompted(settings: Settings) -> FewShot:
        # What was added in a chat calibrates nothing: its visitor would wait for every message.
        added = settings.added
        prior = prompted(replace(settings, added=())).batch_prior if added else None
        return FewShot(
            settings.task,
            lm=language_model(settings) if SELECTORS[settings.selector].asks_lm else None,
            embedder=embedder,
            **{
                **{each.name: getattr(settings, each.name) for each in fields(FewShotConfig)},
                "chat": settings.chat if chat is None else chat,
                "prompt_tokens": prompt_tokens or settings.prompt_tokens,
            },
        ).fit(
            pool_of(settings.task).with_added(added, embedder),
            prior=prior,
            read_prior=False,  # while nobody waits, see ``Workers``
        )

    def few_shot(settings: Settings) -> Model:
        classifier = prompted(settings)
        return Model(embedder.name if classifier.lm is None else classifier.lm.name, classifier)

    return Session(
        methods={"fine_tuned": fine_tuned, "few_shot": few_shot},
        language_model=language_model,
        checkpoint=checkpoint,
        offers={"lm": lms, "checkpoint": list(folders)},
        usual=usual,
    )
