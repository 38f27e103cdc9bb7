"""The engine, promise by promise, on the fake driver."""
