"""LoRA adapters: which are on offer, what their files say and whether they may be used, and which are on the model.

Knows nothing of prompts, attention or pages. Only `weights`, `fit`, `attach` and `manager` load torch and PEFT.
"""
