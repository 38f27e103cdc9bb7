"""The crash matrix: a real process, a real SIGKILL, at every step and point."""
