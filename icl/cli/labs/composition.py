"""``icl composition``: what a layer could compose, and what the language model does compose."""

from dataclasses import asdict, replace
from typing import Annotated

import typer

from clfcore.cli import terminal
from clfcore.cli.options import with_config
from clfcore.cli.terminal import Json, stdout, with_examples
from icl.cli.options import LM, ModelChoice
from icl.prompt.composition import LAYERS, Layer, bits_of
from icl.prompt.free_prompts import FREE_PROMPTS

PROMPT = FREE_PROMPTS["function_composition"]
# Languages that the prompt shows, each in g(x), f(g) and f(g(x)), and those it asks about.
DOMAIN = len(PROMPT.examples) // 3 + len(PROMPT.questions)
_MOST = 10**9  # of each number: models have fewer
LAYER = "The layer"  # heading of --help


@with_examples("", "--ask", "--heads 32 --width 4096 --precision 8 --domain 100000 --json")
@with_config(ModelChoice, "models", without=("embedder",))
def composition(
    *,
    models: ModelChoice,
    heads: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST, help="H, of another model.", rich_help_panel=LAYER),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST, help="d, of another model.", rich_help_panel=LAYER),
    ] = None,
    precision: Annotated[
        int, typer.Option(min=1, max=_MOST, help="p, bits of a number.", rich_help_panel=LAYER)
    ] = 16,
    domain: Annotated[
        int,
        typer.Option(
            min=2,
            max=_MOST,
            help="n, values that are kept apart; default: the prompt's.",
            rich_help_panel=LAYER,
        ),
    ] = DOMAIN,
    ask: Annotated[
        bool,
        typer.Option(
            "--ask", help="Ask the language model the six questions, too.", rich_help_panel=LM
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Can one layer compose two functions? n log n > H (d + 1) p: no (Peng et al. 2024)."""
    if (heads is None) != (width is None):
        raise typer.BadParameter("--heads and --width are of one model; give both")
    layers = {name: replace(layer, precision=precision) for name, layer in LAYERS.items()}
    if heads is not None and width is not None:
        layers["yours"] = Layer(heads, width, precision)
    answers = _answers(models) if ask else {}
    rows = {
        name: {
            **asdict(layer),
            "bits": layer.bits,
            "largest_domain": layer.largest_domain,
            "least_error": layer.least_error(domain),
        }
        for name, layer in layers.items()
    }
    questions = [
        {
            "question": question,
            "expected": expected,
            "answer": answers.get(question),
            "right": PROMPT.is_right(question, answers[question]) if ask else None,
        }
        for question, expected in PROMPT.questions
    ]
    if as_json:
        record = {"domain": domain, "bits_needed": bits_of(domain), "layers": rows}
        terminal.print_json({**record, "questions": questions})
        return
    terminal.print_table(
        "model", "heads H", "width d", "bits H (d + 1) p", "largest n", f"error at n = {domain:,}",
        rows=[
            (
                name,
                f"{row['heads']:,}",
                f"{row['width']:,}",
                f"{row['bits']:,}",
                f"{row['largest_domain']:,}",
                f"≥ {row['least_error']:.1%}",
            )
            for name, row in rows.items()
        ],
        title=f"{domain:,} values need n log₂ n = {bits_of(domain):,.1f} bits",
    )  # fmt: skip
    terminal.print_table(
        "question", "right", "answer",
        rows=[
            (
                str(each["question"]),
                str(each["expected"]),
                terminal.shortened(str(each["answer"]), 60) if ask else "see --ask",
            )
            for each in questions
        ],
    )  # fmt: skip
    if ask:
        right = sum(bool(each["right"]) for each in questions)
        stdout.print(f"{models.lm}: {right} of {len(questions)} right", soft_wrap=True)


def _answers(models: ModelChoice) -> dict[str, str]:
    from icl.lm.open import check_lm, open_lm

    check_lm(models.lm, models.base_url)
    lm = open_lm(models.lm, chat=False, **models.given)
    return {
        question: lm.generate(PROMPT.render(question), stop=PROMPT.stop).text.strip()
        for question, _ in PROMPT.questions
    }
