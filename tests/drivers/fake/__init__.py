"""The fake driver's own world: what the contract suite does not ask."""
