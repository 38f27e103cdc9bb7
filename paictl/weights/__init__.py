"""Where a model's files come from and how they get here; called by ``fit``, the engine and the drivers, never by the runtime."""
