"""From a recording to the numbers and words that are shown; it knows no pixel.

Selection and views (`reduce`), measures, changes, rankings, colour limits as values, captions; `stack` puts them
together: what one choice of tokens, head and view shows, for all layers or some.
"""
