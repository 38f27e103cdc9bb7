"""The rules of planning as data: one file a case."""
