"""One HTML file that holds a result and the viewer: the report, and the same in a notebook's frame."""
