"""What check.py reports beside the files themselves: leaks between splits, and a picture."""
