"""Secrets that the test run uses, each recognisable. None may ever stand in a log, an answer or the database."""

ENCRYPTION_KEY = "ca4a27" * 10 + "f00d"
CLIENT_SECRET = "canary-client-secret-8c1f"
ACCESS_TOKEN = "canary-access-token-51d0"
REFRESH_TOKEN = "canary-refresh-token-a7e3"
API_KEY = "canary-api-key-93b2"
PASSWORD = "canary-password-4e6d"
CODE = "canary-code-0b9a"

SECRETS = (ENCRYPTION_KEY, CLIENT_SECRET, ACCESS_TOKEN, REFRESH_TOKEN, API_KEY, PASSWORD, CODE)
