"""Connect your Supabase users' accounts at third-party services, under their own row level security."""
