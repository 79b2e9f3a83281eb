"""The stored objects: sessions, records and their values. No I/O, and no JSON."""
