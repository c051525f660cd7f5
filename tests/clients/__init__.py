"""Clients in environments of their own, at a real front door; `make test-clients` runs these."""
