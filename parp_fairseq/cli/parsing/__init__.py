"""The argument parser, and the options that several commands have. Imports no torch."""
