"""What quantizing a matrix gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the table of schemes is read without torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Quantized:
    """A matrix in codes.

    Attributes:
        codes: (rows, columns) int8 or uint8, whole numbers from a scheme's lowest to its highest.
        scales: what turns codes into weights again, by name; stored as they are.
    """

    codes: "Tensor"
    scales: "Mapping[str, Tensor]"
