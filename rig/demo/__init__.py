"""`make demo`: knit's main job on servers of its own, shown step by step."""
