"""Repairs of Chainlit 2.12, each with the test that shows why."""
