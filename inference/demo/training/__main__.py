"""``python -m inference.demo.training``: trains the embedded model again."""

from inference.demo.training.train import main

main()
