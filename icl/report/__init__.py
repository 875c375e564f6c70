"""The report of a comparison: one page that needs no network."""
