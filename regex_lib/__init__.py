"""Losses, masks, attributions and metrics for faithful explanations of text classifiers."""

__version__ = "0.1.0"
