"""The prior of batch calibration: read once, kept on disk, and carried for the bundled messages."""
