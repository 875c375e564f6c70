"""``python -m clfcore`` is ``clf``."""

from clfcore.cli.clf import main

if __name__ == "__main__":
    main()
