"""Personal Agent Infrastructure: one ``agent.yaml``, made true on the hardware at hand."""

__version__ = "0.1.0"
