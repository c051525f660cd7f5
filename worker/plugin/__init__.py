"""SupervisorPlugin: workers of agent frameworks on Temporal buy their model calls from curb."""
