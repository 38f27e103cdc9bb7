"""Tests of the command line, all through the real executable."""
