"""``clf cost``: what training a language model costs, and the lecture's table of sizes."""

from clfcore.cli import terminal
from clfcore.cli.options import with_config
from clfcore.cli.terminal import Json, stdout, with_examples
from clfcore.pretraining.cost import (
    HARDWARE,
    PUBLISHED,
    TOKENS_PER_PARAMETER,
    CostConfig,
    count_in_words,
    training_cost,
    training_flop,
)


@with_examples(
    "--parameters 4B --tokens 40B",
    "--parameters 135M --hardware h100 --accelerators 8",
    "--parameters 16M --tokens 1M --peak 175e9 --price 0 --json",
)
@with_config(CostConfig, "config")
def cost(config: CostConfig, as_json: Json = False) -> None:
    """What training costs: FLOP, hours, money; beside the sizes of Hoffmann et al. 2022."""
    asked = training_cost(config)
    rows = [
        {
            "parameters": n,
            "tokens": d,
            "flop": flop,
            "tokens_per_parameter": d / n,
            "6nd": training_flop(n, d),
            "6nd_at_20": training_flop(n, n * TOKENS_PER_PARAMETER),
        }
        for n, (d, flop) in PUBLISHED.items()
    ]
    if as_json:
        terminal.print_json({**config.to_dict(), **asked.to_dict(), "published": rows})
        return
    terminal.print_table(
        "parameters", "best tokens", "FLOP", "tokens a parameter", "6·N·D", "6·N·20N",
        rows=[
            (
                count_in_words(row["parameters"]),
                count_in_words(row["tokens"]),
                f"{row['flop']:.2e}",
                f"{row['tokens_per_parameter']:.1f}",
                f"{row['6nd']:.2e}",
                f"{row['6nd_at_20']:.2e}",
            )
            for row in rows
        ],
        title="Hoffmann et al. 2022, table 3, and two formulas",
    )  # fmt: skip
    known = HARDWARE[config.hardware]
    same = asked.optimal_parameters
    name = known.name if config.peak is None else f"accelerators of {config.peak:.3g} FLOP/s"
    for line in (
        f"{count_in_words(asked.parameters)} parameters, {count_in_words(asked.tokens)} tokens: "
        f"{asked.flop:.3g} FLOP; {asked.verdict}",
        f"this size would want {count_in_words(asked.optimal_tokens)} tokens; the same FLOP, "
        f"{count_in_words(same)} parameters and "
        f"{count_in_words(same * TOKENS_PER_PARAMETER)} tokens",
        f"{asked.hours:,.1f} hours of {name} at {config.utilisation:.0%} of its peak: "
        f"{asked.days:,.1f} days on {config.accelerators:,}, {asked.dollars:,.2f} US dollars",
    ):
        stdout.print(line, soft_wrap=True)
    if config.peak is None or config.price is None:
        terminal.print_note(
            f"{known.name}: {known.peak:.3g} FLOP/s, {known.price} US dollars an hour "
            f"({known.source})"
        )
