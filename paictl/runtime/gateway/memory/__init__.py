"""What the agent remembers: the record store is the truth, the vector index beside it can be rebuilt at any time."""
