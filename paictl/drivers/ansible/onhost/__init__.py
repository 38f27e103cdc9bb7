"""What runs on the hosts themselves, by whatever Python 3 they have: the standard library only, and nothing of paictl."""
