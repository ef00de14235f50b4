"""Quantisation: from a trained network to a program; quantisation-aware fine-tuning."""
