"""``python -m clfcore`` is ``clf``."""

from clfcore.cli import main

if __name__ == "__main__":
    main()
