"""The HTTP endpoints: parse a request, call one use case, show the result. Rules live in `supabase_integrations`."""

from .app import create_app

__all__ = ["create_app"]
