"""The caller of the engine on Modal: calls with deadlines, one request watched, and a sentence for each failure.

The deployed side is `inference/remote.py`. Nothing here loads torch.
"""
