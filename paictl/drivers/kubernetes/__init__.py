"""The Kubernetes driver: an agent in a namespace of a cluster."""
