"""``clf check-cache``: what lies in the cache, and whether it is what was written."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clfcore.cli import terminal
from clfcore.cli.terminal import Json, stdout, with_examples
from clfcore.errors import TuneshotError
from clfcore.paths import cache_dir
from clfcore.wording import printable

if TYPE_CHECKING:
    from clfcore.cache.check import Finding


@with_examples("", "--json")
def check_cache(as_json: Json = False) -> None:
    """Read every file of the cache, and remove what is damaged: it is made again when needed.

    Programs look at sizes and times only; this finds what changed and kept both.
    """
    from clfcore.cache.check import check_cache as check

    found = list(check())
    left = [each for each in found if not each.is_mended]
    if as_json:
        files = [each.to_dict() for each in found]
        terminal.print_json({"cache": str(cache_dir()), "files": files, "ok": not left})
    else:
        _print(found)
    if left:
        names = ", ".join(each.name for each in left)
        raise TuneshotError(
            f"{names} in {cache_dir()} cannot be mended: not ours to read or to remove; delete "
            "what is damaged, or set TUNESHOT_CACHE to a folder that can be written"
        )


def _print(found: Sequence["Finding"]) -> None:
    place = printable(str(cache_dir()))
    if not found:
        stdout.print(f"there is nothing in the cache, {place}", soft_wrap=True)
        return
    terminal.print_table(
        "kept", "MB", "found",
        rows=[(printable(e.name), f"{e.bytes / 1e6:,.1f}", _said(e)) for e in found],
        box=None, pad_edge=False,
    )  # fmt: skip
    size, removed = sum(each.bytes for each in found), sum(each.removed for each in found)
    left = sum(not each.is_mended for each in found)
    done = [f"{n} {what}" for n, what in ((removed, "removed"), (left, "cannot be mended")) if n]
    stdout.print(
        f"{len(found)} checked, {size / 1e6:,.0f} MB in {place}: "
        f"{', '.join(done) or 'nothing is damaged'}",
        soft_wrap=True,
    )


def _said(finding: "Finding") -> str:
    from clfcore.cache.checksums import State

    said = str(finding.state)
    if finding.state == State.UNNOTED:
        return f"{said}: one is noted now"
    if finding.damaged:
        said += f" ({printable(finding.damaged)})"
    return f"{said}; removed" if finding.removed else said
