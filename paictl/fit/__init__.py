"""What the hardware is, and which models fit it; called by ``lock``, ``fit`` and the engine before anything is planned."""
