"""Selects: which stretch of which key to read, and rows, lazily."""
