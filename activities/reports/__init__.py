"""Cost reports: what is in one (document), how it is gathered, and how it is shown, a module per form."""
