"""CMA-ES, from the `cma` package."""
