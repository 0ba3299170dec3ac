"""What an explanation says: one sentence with its numbers, and the numbers of the pictures behind it.

`finding.py` is the door; each question has a file of its own. Arrays in, words and plain values out: it knows no page,
no engine and no pixels.
"""
