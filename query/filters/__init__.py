"""Filters: MongoDB's words, read once into a tree; as a function of a record, and as a function of a whole page."""
