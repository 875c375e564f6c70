"""Chooses how a language model is prompted by the labelled messages themselves."""
