"""The words of digits, in letters as the English corpora write them."""

DIGITS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")  # 0 to 9
