"""Who may use the page: signing in, what a cookie is worth, and who is shown out."""
