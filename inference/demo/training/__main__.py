"""`python -m inference.demo.training`: train the embedded model again."""

from inference.demo.training.train import main

main()
