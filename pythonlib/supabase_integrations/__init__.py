"""Connect your Supabase users' accounts at third-party services, under their own row level security."""

import logging

# Whoever embeds this package decides what becomes of its lines: without a handler at all, warnings would be printed.
logging.getLogger(__name__).addHandler(logging.NullHandler())
