"""The reconciler: observe, plan, execute, record. Knows drivers only by the protocol in ``driver``; the planner is pure."""
