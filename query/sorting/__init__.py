"""Sorting in bounded memory."""
