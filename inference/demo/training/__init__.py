"""How the embedded model and its adapters were made; nothing that runs the tool needs this room."""
