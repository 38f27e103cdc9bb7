"""Tests of ``paictl.weights``."""
