"""``python -m icl`` is ``icl``."""

from icl.cli.icl import main

main()
