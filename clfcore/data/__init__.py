"""Messages and their labels: reading, quality, groups of copies, splits, balance, draws."""
