"""Quantization: weights as few-bit codes and scales. ``schemes.py`` has the table."""
