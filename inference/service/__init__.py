"""Many people and one engine: sessions, queue, limits, kept results, HTTP routes and the page's handlers.

It knows `inference` and `visualize`, as `app.py` does; elsewhere drawing is known by three files, and imported late
(`tests/test_boundaries.py` names them). It knows no model code: a `Backend` answers.
"""
