"""The ansible driver: hosts over ssh, systemd units on them, by plays of ansible-core."""
