"""What a language model learns from before anybody fine-tunes it, and what that costs."""
