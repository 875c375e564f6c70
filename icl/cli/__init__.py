"""The icl and tuneshot commands."""
