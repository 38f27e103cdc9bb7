"""The Docker driver: an agent as containers of one engine, which may be another machine's. Called by the engine."""
