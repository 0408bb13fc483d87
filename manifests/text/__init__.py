"""From sentences to labels: normalised words, phones, and lexicons."""
