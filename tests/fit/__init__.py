"""Tests of ``paictl.fit``."""
