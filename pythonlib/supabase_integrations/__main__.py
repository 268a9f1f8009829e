"""`python -m supabase_integrations` is the `integrations` command."""

from .cli import main

main()
