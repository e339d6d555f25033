"""Stores: what is declared about them, their records and their indexes."""
