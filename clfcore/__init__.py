"""Fine-tune a GPT-2 into a text classifier.

Reading order: types, config, data, tokenizer, batching, gpt, pretrained, classifier, train,
metrics, checkpoint, predict, cli.
"""

__version__ = "0.1.0"
