"""The numerics, which know neither Ray nor Torch, and the contracts that all else keeps to."""
