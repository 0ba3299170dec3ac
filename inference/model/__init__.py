"""One Qwen3-VL checkpoint and what is computed with it: input, passes, recorded attention, what is kept, the engine.

Knows nothing of pages, routes, sessions or clouds: a `Request` comes in, a `Comparison` leaves. Loading it loads torch.
"""
