"""Model servers that paictl starts itself, each a program of its own with one configuration file."""
