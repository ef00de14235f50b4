"""Placement: which neurons sit on which core."""
