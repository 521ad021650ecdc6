"""Differences between two states of the inventory."""
