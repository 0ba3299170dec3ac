"""What a browser gets of a result: the scene once, then all layers of a choice as one body; it knows no route."""
