"""Pictures of the chat."""
