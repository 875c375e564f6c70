"""The texts written for this project: a hundred sentences of news, a hundred of stories."""

from dataclasses import dataclass
from pathlib import Path

from clfcore.data.columns import Columns
from clfcore.data.split import grouped_stratified_split
from clfcore.data.tables import read_labelled, read_table
from clfcore.errors import TuneshotError
from clfcore.paths import ASSETS
from clfcore.types import Example

BUNDLED = ASSETS / "texts.tsv"
REPLAYED, OTHER = "news", "story"  # labels of the bundled texts


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts that have nothing to do with the new task.

    Attributes:
        shown: labelled ones: those of the label ``REPLAYED`` may be read again by a remedy, and
            any may be an example in a prompt.
        asked: labelled ones that are only measured.
        other: texts of a kind that no remedy ever reads.
    """

    shown: list[Example]
    asked: list[Example]
    other: list[str]

    @property
    def replayed(self) -> list[str]:
        """What a remedy may read again."""
        return [example.text for example in self.shown if example.label == REPLAYED]

    @property
    def like_replayed(self) -> list[str]:
        """Texts of the same kind that are never read again."""
        return [example.text for example in self.asked if example.label == REPLAYED]


def read_texts(other: Path | None = None, columns: Columns = Columns()) -> Texts:
    """The bundled texts, divided; always in the same way.

    Args:
        other: a table of texts of the user's in the place of the stories that no remedy reads.
        columns: of it.

    Raises:
        TuneshotError: it cannot be read.
    """
    examples = read_labelled(BUNDLED)
    split = grouped_stratified_split(examples)
    shown = [examples[row] for row in split.train]
    asked = [examples[row] for row in (*split.val, *split.test)]
    if other is None:
        texts = [example.text for example in examples if example.label == OTHER]
    else:
        table = read_table(
            other, text_column=columns.text_column, label_column=columns.label_column,
            labels_needed=False, skip_empty=True,
        )  # fmt: skip
        texts = list(table.texts)
        if not texts:
            raise TuneshotError(f"{other} holds no text; give one with a text a row")
    return Texts(shown, asked, texts)
