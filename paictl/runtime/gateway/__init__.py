"""The door: the one program between people, the agent, models and memory; started as ``python -m paictl.runtime.gateway``."""
