"""Lab: a language model learns which of two answers people prefer."""
