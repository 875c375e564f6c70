"""The clf command."""
