"""How things are shown: streams, tables, errors, progress and help. Knows nothing of verbs, plans or engines."""
