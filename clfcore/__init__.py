"""Fine-tune a GPT-2 into a text classifier.

Reading order: types, data/, model/ (tokenizer, batching, gpt, classifier), weights/, fine_tuned,
training/ (settings, loop, recipe), evaluation/, cli/.
"""

__version__ = "0.1.0"
