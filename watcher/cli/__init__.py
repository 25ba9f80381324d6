"""What people touch on the command line."""
