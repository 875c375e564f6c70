"""What learning a task does to the rest: prompts for the labs of ``clfcore/forgetting``."""
