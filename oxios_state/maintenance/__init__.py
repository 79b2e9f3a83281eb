"""Checking a store's files, the quarantine, and probing what its directory supports."""
