"""Aggregates: counts, sums, groups, in bounded memory."""
