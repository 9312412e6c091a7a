"""Measurements of speed, always as ratios of two ways side by side in one run."""
