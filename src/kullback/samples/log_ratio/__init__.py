"""The log ratio of two densities, learnt from draws and judged on others."""
