"""The project's tests; the folders mirror the package, and ``lanes`` and ``promises`` are what the Makefile runs."""
