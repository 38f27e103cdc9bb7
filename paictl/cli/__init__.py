"""The command line: verbs, flags and output; nothing else in paictl prints."""
