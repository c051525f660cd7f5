"""What people do and see, whichever way they come: the command line, the admin API, the console."""
