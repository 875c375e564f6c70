"""Kept chats, in SQLite or PostgreSQL."""
