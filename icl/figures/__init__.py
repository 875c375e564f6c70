"""Pictures of the chat."""

from clfcore.errors import missing_extra_explained

with missing_extra_explained("drawing"):
    import plotly  # noqa: F401
