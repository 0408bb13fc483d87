"""Options and error handling that the command lines share."""
