"""What runs curb in production: images' locks, Temporal, Grafana."""
