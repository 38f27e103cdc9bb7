"""Programs that the Makefile runs for contributors; nothing of paictl needs them."""
