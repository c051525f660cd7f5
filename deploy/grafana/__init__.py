"""Grafana's dashboards, as code. `make dashboards` writes dashboards/*.json, which Grafana reads."""
