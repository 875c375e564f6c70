"""``python -m icl`` is ``icl``."""

from icl.cli import main

main()
