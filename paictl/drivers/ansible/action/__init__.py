"""Actions that Ansible loads from here by their file's name; paictl itself imports none of them."""
