"""Classify by showing a language model a few examples (in-context learning).

Reading order: embed, pool, selectors, prompt, lm, scoring, classify, session, cli.
"""
