"""What a model forgets when it learns something new, and what can be done about it."""
