"""What a workflow may ask of the world: model calls, tools, conversations, the run's own records."""
