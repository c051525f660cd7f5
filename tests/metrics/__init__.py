"""Metrics as a real Prometheus sees them, of a real curb under load: `make test-metrics`."""
