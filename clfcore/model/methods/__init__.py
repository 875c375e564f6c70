"""How each kind of adapter is put into a trunk; ``clfcore/model/adapters.py`` has the table."""
