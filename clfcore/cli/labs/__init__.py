"""Commands of the lecture's labs: a question, a table, a figure."""
