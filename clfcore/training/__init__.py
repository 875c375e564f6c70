"""Fine-tuning: settings, the loop, what makes it fast, calibration, resuming, the recipe."""
