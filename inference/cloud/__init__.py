"""The caller of the engine on Modal: deadlines, and a sentence for each way in which a cloud can fail.

The deployed side is `inference/remote.py`. Nothing here loads torch.
"""
