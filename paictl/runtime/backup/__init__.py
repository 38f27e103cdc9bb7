"""The agent's data as one encrypted, consistent set, and back again: `python -m paictl.runtime.backup`."""
