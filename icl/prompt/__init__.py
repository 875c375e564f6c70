"""Templates, prompts, scoring, calibration, tasks."""
