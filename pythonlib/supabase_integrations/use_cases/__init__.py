"""What the system does for a caller, written against the ports."""
