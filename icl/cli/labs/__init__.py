"""Commands of the lecture's labs that ask a language model."""
