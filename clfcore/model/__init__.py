"""From token ids to logits: tokenizer, batching, the GPT, the classifier and its adapters."""
