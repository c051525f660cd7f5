"""The console: one page on the front door that shows what costs what, and stops it."""
