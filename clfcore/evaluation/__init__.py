"""Metrics, intervals, paired tests, perturbations, records, and the one grid runner."""
