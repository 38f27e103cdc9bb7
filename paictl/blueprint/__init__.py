"""From a checked manifest to the target-independent graph of services: who runs, with what, and who reaches whom."""
