"""A file of messages, classified by both methods."""
