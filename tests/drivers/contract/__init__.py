"""One suite for every driver; each driver brings a factory."""
