"""What an explanation says to a person: one sentence with its numbers, and the picture behind it; arrays in, JSON out.

It decides words and which numbers stand in them. Whatever is said of a change says how large it is, and what cannot be
told apart from chance is said to be so.
"""

from visualize.findings.finding import Finding, finding, finding_json
from visualize.findings.prices import prices_json

__all__ = ["Finding", "finding", "finding_json", "prices_json"]
