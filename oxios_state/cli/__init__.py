"""The command line, ``oxios-state``."""
