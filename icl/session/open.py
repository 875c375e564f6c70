"""Opens a session: models, pools and tasks, each from where it is to be had."""

from collections.abc import Sequence
from functools import cache, lru_cache, partial
from pathlib import Path

from clfcore.config import DEFAULT_LM
from clfcore.data.messages import load_pool
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.fine_tuned import FineTuned
from clfcore.weights.meta import BUNDLED
from icl.few_shot import FewShot
from icl.lm.base import LM
from icl.lm.open import open_lm
from icl.pool.embed import SentenceEmbedder
from icl.pool.pool import Pool
from icl.prompt.tasks import TASKS
from icl.selectors.table import SELECTORS
from icl.session.session import Model, Session
from icl.session.settings import Settings


def open_session(
    checkpoints: Sequence[Path] = (),
    pool: Path | None = None,
    lms: Sequence[str] = (DEFAULT_LM,),
    folder: Path | None = None,
) -> Session:
    """The two methods, each loaded when first asked.

    Args:
        checkpoints: fine-tuned models; by default the bundled one.
        pool: labelled messages of the task ``sms_spam``, see ``load_pool``.
        lms: language models that read the prompt, at least one, see ``open_lm``.
        folder: data of the other tasks, see ``Task.load``; without it, they have no pool.
    """
    embedder = SentenceEmbedder()
    places = {place.name: place for place in checkpoints or [BUNDLED]}

    @lru_cache(maxsize=8)
    def load(place: Path) -> FineTuned:
        return FineTuned.load(place)

    def checkpoint(settings: Settings) -> Path:
        if settings.checkpoint and settings.checkpoint not in places:
            raise unknown_choice("checkpoint", settings.checkpoint, places)
        labels = set(TASKS[settings.task].labels)

        def fits(name: str) -> bool:
            return set(load(places[name]).labels) == labels

        chosen = settings.checkpoint
        if chosen and fits(chosen):
            return places[chosen]
        fitting = next(filter(fits, places), None)
        if fitting and chosen:
            raise TuneshotError(
                f"{chosen} was not fine-tuned for {settings.task}; choose {fitting}"
            )
        if fitting:
            return places[fitting]
        raise TuneshotError(
            f"no model here was fine-tuned for {settings.task}; make one (clf train --data FILE "
            f"--out runs/{settings.task}) and start with TUNESHOT_CHECKPOINT=runs/{settings.task}"
        )

    def fine_tuned(settings: Settings) -> Model:
        model = load(settings.trained or checkpoint(settings))
        return Model(model.name, model)

    @cache
    def messages(task: str) -> Pool:
        if task == "sms_spam":
            return Pool.build(load_pool(pool).examples, embedder)
        if folder is None:  # a chat asks no other machine
            raise TuneshotError(
                f"the data of {task} is not at hand; start with TUNESHOT_FOLDER=FOLDER, which has "
                f"a sub-folder {task} with its tables"
            )
        return Pool.build(TASKS[task].load("train", folder), embedder)

    opened = lru_cache(maxsize=4)(partial(open_lm, retries=1))  # people wait for it

    def language_model(settings: Settings) -> LM:
        if settings.lm and settings.lm not in lms:
            raise unknown_choice("language model", settings.lm, lms)
        return opened(settings.lm or lms[0])

    @lru_cache(maxsize=16)  # some selectors take a second to look at the pool
    def few_shot(settings: Settings) -> Model:
        classifier = FewShot(
            settings.task,
            settings.selector,
            lm=None if SELECTORS[settings.selector].votes else language_model(settings),
            embedder=embedder,
            k=settings.k,
            order=settings.order,
            balance=settings.balance,
        ).fit(messages(settings.task).teach(settings.taught, embedder))
        return Model(embedder.name if classifier.lm is None else classifier.lm.name, classifier)

    return Session(
        {"fine_tuned": fine_tuned, "few_shot": few_shot},
        language_model,
        {"lm": lms, "checkpoint": list(places)},
        checkpoint,
    )
