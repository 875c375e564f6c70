"""Instruction tuning: a language model learns to write the answer after a prompt."""
