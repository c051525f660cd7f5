"""Every way of buying keeps the same books: one table of surfaces, one set of checks."""
