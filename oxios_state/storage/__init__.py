"""Bytes, directories and locks. No JSON."""
