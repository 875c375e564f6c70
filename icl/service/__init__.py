"""The HTTP service around the page: health, metrics, the API."""
