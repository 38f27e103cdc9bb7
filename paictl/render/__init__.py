"""Configuration a person can read and run without paictl: Jinja2 over templates/, from the blueprint. Pure text."""
