"""How things are shown: streams, tables, errors, progress and help. Knows nothing of verbs, manifests or engines."""
