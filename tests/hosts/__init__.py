"""Real hosts for the tests: Debian with systemd and sshd, each with an address, a disk and a console of its own."""
