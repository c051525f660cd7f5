"""The admin API: costs, budgets, keys, switches, runs, alerts and reports over HTTP. docs/admin-api.md"""
