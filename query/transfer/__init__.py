"""Rows in and out: files into a store, and streams of JSON, NDJSON and CSV."""
