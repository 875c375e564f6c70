"""Labelled messages, their embeddings, and the index that searches them."""
