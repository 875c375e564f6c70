"""The lecture's labs in the chat.

Attention is looked up and a price computed. What takes minutes is not run here: the page shows the
figures that the project has recorded, and the command that makes them.
"""

import asyncio
from statistics import fmean
from typing import Any

import chainlit as cl

from clfcore.analysis.attention import visible
from clfcore.errors import TuneshotError
from clfcore.evaluation.records import read_lines
from clfcore.pretraining.cost import (
    HARDWARE,
    TOKENS_PER_PARAMETER,
    CostConfig,
    count_in_words,
    training_cost,
)
from icl.chat.cards import share
from icl.chat.conversation import paragraphs, show, table_element
from icl.chat.language import numeral, say
from icl.chat.serve import PROJECT
from icl.figures.labs import attention_map, old_task_by_step, sizes_and_errors
from icl.session.jobs import attention_within
from icl.session.session import check_message
from icl.session.settings import Settings
from icl.session.workers import Workers

MAX_TOKENS = 40  # of a message whose attention is drawn
RECORDS = PROJECT / "docs" / "records"

# --- attention ------------------------------------------------------------------------------------


async def show_attention(workers: Workers, text: str, settings: Settings) -> None:
    """Draws which token of a message the fine-tuned model's last layer looks at.

    Raises:
        TuneshotError: the message is too long to be drawn, or the model does not tell.
    """
    check_message(text)
    found = await workers.run(attention_within, "fine_tuned", settings, text)
    words = [visible(token) for token in found.tokens]
    if len(words) > MAX_TOKENS:
        raise TuneshotError(
            f"attention is drawn for messages of at most {MAX_TOKENS} tokens, and this one has "
            f'{len(words):,}; shorten it, or run: clf attention "…" --out heads.png'
        )
    drawing = attention_map(words, found.weights.tolist(), found.title)
    await show(drawing, "attention", say(ATTENTION))


ATTENTION = (
    "Fine-tuned: each row is what one token is made of. It looks at itself and at what came "
    "before; the last one has seen everything, and the answer is read there."
)

# --- what training costs --------------------------------------------------------------------------

SLIDE = ("4B", "40B")  # the lecture's question


async def show_cost(text: str) -> None:
    """Says what it costs to train a language model, on one accelerator of each kind.

    Args:
        text: parameters, and tokens if not 20 for each: ``4B 40B``; empty: the lecture's model.

    Raises:
        TuneshotError: it is something else.
    """
    parameters, *rest = text.split() or SLIDE
    if len(rest) > 1:
        raise TuneshotError("give the parameters and the tokens, as in: /cost 4B 40B")
    tokens = rest[0] if rest else None
    costs = {name: training_cost(CostConfig(parameters, tokens, name)) for name in HARDWARE}
    asked = next(iter(costs.values()))
    said = say(
        COST,
        parameters=numeral(count_in_words(asked.parameters)),
        tokens=numeral(count_in_words(asked.tokens)),
        flop=numeral(f"{asked.flop:.3g}"),
        ratio=numeral(f"{asked.tokens_per_parameter:.3g}"),
        best=numeral(count_in_words(asked.optimal_tokens)),
        smaller=numeral(count_in_words(asked.optimal_parameters)),
        more=numeral(count_in_words(asked.optimal_parameters * TOKENS_PER_PARAMETER)),
    )
    figures = table_element(
        say("One accelerator at {share} of its peak", share=f"{CostConfig().utilisation:.0%}"),
        [say("Accelerator"), say("Hours"), "US $"],
        [
            [HARDWARE[name].name, numeral(f"{each.hours:,.1f}"), numeral(f"{each.dollars:,.0f}")]
            for name, each in costs.items()
        ],
    )
    command = f"clf cost --parameters {parameters}" + (f" --tokens {tokens}" if tokens else "")
    await cl.Message(content=paragraphs(said, command), elements=[figures]).send()


COST = (
    "{parameters} parameters and {tokens} tokens: 6·N·D = {flop} FLOP, {ratio} tokens a parameter. "
    "Chinchilla's 20 would be {best} tokens; the same FLOP are best spent on {smaller} parameters "
    "and {more} tokens."
)

# --- recorded figures -----------------------------------------------------------------------------


async def show_quantization() -> None:
    """Shows what fewer bits a weight cost the bundled model, as the project has recorded it.

    Raises:
        TuneshotError: the records are not there.
    """
    found = [each for each in await asyncio.to_thread(read_records, "quantization")
             if (each["baseline"], each["scope"]) == ("int8", "all")]  # fmt: skip
    models = {found[0]["baseline"]: found[0]["models"]["before"]}
    models |= {each["scheme"]: each["models"]["after"] for each in found}
    rows = [(name, of["bytes"] / 1e6, of["weight_error"]) for name, of in models.items()]
    await show(sizes_and_errors(rows), "quantization", say(QUANTIZATION))
    figures = table_element(
        say("Recorded on {count} test messages", count=numeral(f"{found[0]['messages']:,}")),
        [
            *(say("Stored as"), "MB", say("Change of probability")),
            *(say("Answers changed"), say("Accuracy")),
        ],
        [
            [
                name,
                numeral(f"{size:.1f}"),
                share(models[name]["probability_change"]),
                str(models[name]["answers_changed"]),
                share(models[name]["accuracy"]),
            ]
            for name, size, _ in rows
        ],
    )
    command = "clf quantize --scheme nf4 --out runs/nf4"
    await cl.Message(content=paragraphs(command), elements=[figures]).send()


QUANTIZATION = (
    "Each weight of the bundled model in fewer bits. Spam is easy: most answers stay even with one "
    "bit a weight, so look at the errors, too."
)


async def show_forgetting() -> None:
    """Shows what the bundled trunk forgot of spam while it learned news and stories, as recorded.

    Raises:
        TuneshotError: the records are not there.
    """
    curves: dict[str, list[Any]] = {}
    for record in await asyncio.to_thread(read_records, "forgetting"):
        curves.setdefault(record["config"]["remedy"], []).append(record["test"]["curve"])
    old = {
        remedy: (
            [point["step"] for point in found[0]],
            [fmean(point["old_accuracy"] for point in at) for at in zip(*found, strict=True)],
        )
        for remedy, found in curves.items()
    }
    await show(old_task_by_step(old), "forgetting", say(FORGETTING))
    new = {
        remedy: fmean(each[-1]["accuracy"] for each in found) for remedy, found in curves.items()
    }
    figures = table_element(
        say("Recorded with {count} seeds", count=len(next(iter(curves.values())))),
        [say("Remedy"), say("New task in the end"), say("Old task in the end")],
        [[remedy, share(new[remedy]), share(old[remedy][1][-1])] for remedy in curves],
    )
    command = "icl forget --base gpt2-mini --remedies ewc,wise_ft --seeds 3"
    await cl.Message(content=paragraphs(command), elements=[figures]).send()


FORGETTING = (
    "gpt2-mini could tell spam, and learns to tell news from stories with a new head. Who learns "
    "slowly forgets little: compare the new task, too."
)


def read_records(name: str) -> list[dict[str, Any]]:
    """What the project has recorded of a lab.

    Args:
        name: of the file in ``RECORDS``, without its ending.

    Raises:
        TuneshotError: it is not there, or a line is not JSON.
    """
    path = RECORDS / f"{name}.jsonl"
    if not path.exists():
        raise TuneshotError(f"the recorded figures are not at {path}; install Tuneshot again")
    return read_lines(path)
