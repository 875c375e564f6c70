"""How each family of methods learns from some labelled messages."""
