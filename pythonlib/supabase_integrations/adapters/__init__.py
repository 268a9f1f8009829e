"""The outside world: one third-party library in each module, translated to the core's types and errors."""
