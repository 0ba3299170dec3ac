"""Many people and one engine: sessions, queue, limits, kept results, HTTP routes and the page's handlers.

The only room that may know both `inference` and `visualize`. It knows no model code: a `Backend` answers.
"""
