"""What training a language model costs: operations, hours and money, before any is spent.

A weight takes part in one multiplication and one addition for each token, and backwards in twice
as many: 6 FLOP a weight and token (Kaplan et al. 2020, section 2.1). How a number of operations is
best spent is what Hoffmann et al. 2022 ("Chinchilla") measured: on about 20 tokens a parameter.
"""

import re
from dataclasses import asdict, dataclass
from typing import Any

from clfcore.config import FINITE, POSITIVE, SHARE_ABOVE_0, Checked, at_least, setting
from clfcore.errors import TuneshotError

FLOP_PER_WEIGHT_AND_TOKEN = 6
TOKENS_PER_PARAMETER = 20  # Hoffmann et al. 2022, table 3, first rows

# Hoffmann et al. 2022, table 3: parameters -> (best number of tokens, FLOP), as printed there.
PUBLISHED: dict[float, tuple[float, float]] = {
    400e6: (8.0e9, 1.92e19),
    1e9: (20.2e9, 1.21e20),
    10e9: (205.1e9, 1.23e22),
    67e9: (1.5e12, 5.76e23),
    175e9: (3.7e12, 3.85e24),
    280e9: (5.9e12, 9.90e24),
    520e9: (11.0e12, 3.43e25),
    1e12: (21.2e12, 1.27e26),
    10e12: (216.2e12, 1.30e28),
}


@dataclass(frozen=True, slots=True)
class Hardware:
    """One accelerator.

    Attributes:
        name: of the product.
        peak: FLOP/s of dense 16-bit matrix products, as its maker states them.
        price: US dollars an hour.
        source: of both figures.
    """

    name: str
    peak: float
    price: float
    source: str


_CAPACITY_BLOCKS = "AWS Capacity Blocks, Ohio, end of 2024"
HARDWARE: dict[str, Hardware] = {
    "v100": Hardware(
        "NVIDIA V100", 125e12, 3.06, "NVIDIA's data sheet; AWS p3.2xlarge on demand, 2024"
    ),
    "a100": Hardware("NVIDIA A100", 312e12, 1.844, f"NVIDIA's data sheet; {_CAPACITY_BLOCKS}"),
    "h100": Hardware("NVIDIA H100 SXM", 989e12, 4.916, f"NVIDIA's data sheet; {_CAPACITY_BLOCKS}"),
    "h200": Hardware("NVIDIA H200 SXM", 989e12, 5.408, f"NVIDIA's data sheet; {_CAPACITY_BLOCKS}"),
}


@dataclass(frozen=True, slots=True)
class CostConfig(Checked):
    """What is to be trained, and on what."""

    parameters: str = setting("4B", "Weights of the model: 135M, 4B, 1e9.", "Model")
    tokens: str | None = setting(
        None, "Tokens that it reads; default: 20 for each weight, as Chinchilla.", "Model"
    )
    hardware: str = setting("a100", "The accelerator.", "Hardware", choices=HARDWARE)
    utilisation: float = setting(
        0.4,
        "Share of the peak that training reaches: 21 % for GPT-3, 46 % for PaLM (Chowdhery et al. "
        "2022, table 3).",
        "Hardware",
        bound=SHARE_ABOVE_0,
    )
    accelerators: int = setting(1, "How many work together.", "Hardware", bound=at_least(1))
    peak: float | None = setting(
        None, "FLOP/s of another accelerator, instead of the known one's.", "Hardware", bound=FINITE
    )
    price: float | None = setting(
        None, "US dollars an hour and accelerator, instead of the known one's.", "Hardware",
        bound=at_least(0),
    )  # fmt: skip

    def contradictions(self) -> list[str]:
        problems = []
        for name in ("parameters", "tokens"):
            given = getattr(self, name)
            if given is not None:
                try:
                    read_count(given)
                except TuneshotError as error:
                    problems.append(f"{name} must be {error}")
        return problems


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """What training costs, and how else its operations could be spent.

    Attributes:
        parameters: weights of the model, N.
        tokens: that it reads, D.
        flop: 6 · N · D.
        tokens_per_parameter: D / N.
        optimal_tokens: 20 · N, for a model of this size.
        optimal_parameters: of the model that makes the most of the same ``flop``; it reads 20
            tokens for each.
        hours: of all accelerators together.
        days: until it is done, on all of them.
        dollars: US dollars.
    """

    parameters: float
    tokens: float
    flop: float
    tokens_per_parameter: float
    optimal_tokens: float
    optimal_parameters: float
    hours: float
    days: float
    dollars: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @property
    def verdict(self) -> str:
        """Where this training stands beside Chinchilla's, in one sentence."""
        share = self.tokens_per_parameter / TOKENS_PER_PARAMETER
        where = (
            "as Chinchilla"
            if abs(share - 1) < 0.05
            else f"{share:.2g} times Chinchilla's {TOKENS_PER_PARAMETER}"
        )
        return f"{self.tokens_per_parameter:.3g} tokens a parameter, {where}"


def training_flop(parameters: float, tokens: float) -> float:
    """Operations of one pass over ``tokens``: 6 · N · D."""
    return FLOP_PER_WEIGHT_AND_TOKEN * parameters * tokens


def optimal_parameters(flop: float) -> float:
    """Weights of the model that 20 tokens a weight use up ``flop``: 6 · N · 20 N = C, for N."""
    return (flop / (FLOP_PER_WEIGHT_AND_TOKEN * TOKENS_PER_PARAMETER)) ** 0.5


def training_cost(config: CostConfig) -> TrainingCost:
    """The cost of one training."""
    n = read_count(config.parameters)
    d = n * TOKENS_PER_PARAMETER if config.tokens is None else read_count(config.tokens)
    known = HARDWARE[config.hardware]
    peak = known.peak if config.peak is None else config.peak
    price = known.price if config.price is None else config.price
    flop = training_flop(n, d)
    hours = flop / (peak * config.utilisation) / 3600
    return TrainingCost(
        parameters=n,
        tokens=d,
        flop=flop,
        tokens_per_parameter=d / n,
        optimal_tokens=n * TOKENS_PER_PARAMETER,
        optimal_parameters=optimal_parameters(flop),
        hours=hours,
        days=hours / config.accelerators / 24,
        dollars=hours * price,
    )


_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


def read_count(text: str) -> float:
    """``4B``, ``1.5T``, ``135M`` or ``4e9`` as a number.

    Raises:
        TuneshotError: it is none, or not positive and finite.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?(?:e\d{1,2})?)([kmbt]?)", text.strip().casefold())
    count = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not POSITIVE.holds(count):
        raise TuneshotError(f"a positive number such as 135M, 4B, 1.5T or 4e9, not {text!r}")
    return count


def count_in_words(count: float) -> str:
    """A number as it is written for ``read_count``: ``2.83B``."""
    name, unit = next(
        ((n, u) for n, u in reversed(_UNITS.items()) if float(f"{count / u:.4g}") >= 1), ("", 1.0)
    )
    return f"{count / unit:.4g}{name.upper()}"
