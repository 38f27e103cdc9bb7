"""From text to a checked manifest: positions, merging, profiles, the lock, the schema, migrations."""
