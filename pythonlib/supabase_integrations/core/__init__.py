"""Decisions without I/O: nothing here opens a socket, reads a clock or looks at the environment."""
