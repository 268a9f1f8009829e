"""The local system: Postgres, Supabase Auth and Data API, an OAuth service and the API, on loopback, without Docker."""
