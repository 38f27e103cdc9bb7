"""The gateway's rooms over one Postgres that several gateways share: what ``spec.state`` chooses in place of files."""
