"""Fine-tune or few-shot: methods, label budgets and seeds on one split."""
