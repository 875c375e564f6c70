"""What only the page needs; nothing here knows how a message is classified."""
