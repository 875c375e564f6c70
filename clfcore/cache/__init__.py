"""What costs minutes or money is kept in the user's cache, and mended where it is damaged."""
