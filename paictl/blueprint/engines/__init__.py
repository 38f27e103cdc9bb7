"""Model servers of others: one module for each, which says how its published image is run. Called by ``blueprint.models``."""
