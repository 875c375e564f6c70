"""The book's experiments and ours: suites, how they run, their table."""
