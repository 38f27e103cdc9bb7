"""The room: the program that thinks, remembers and keeps its own schedule, and reaches the world by one socket only."""
