"""Which demonstrations a prompt shows: a file a family, one table."""
