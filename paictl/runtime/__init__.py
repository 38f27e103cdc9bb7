"""What runs on the target: the gateway (the door), the agent (the room) and the launchers of model servers.

Installed there as a package of its own together with the floor and the manifest's models; imports nothing else of paictl.
"""
