"""Selectors times settings times seeds on one task: cells, runs, the table."""
