"""What the chat knows apart from its page: models, settings, queues, votes."""
