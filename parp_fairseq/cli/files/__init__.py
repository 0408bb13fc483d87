"""Reading masks and checkpoints, and checking that a file can be written."""
