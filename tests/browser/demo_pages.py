"""The demo service's sign-in and consent pages, passed by clicking."""

from playwright.async_api import Page


async def sign_in(page: Page, account: str) -> None:
    """Sign in at the service; its consent page follows."""
    await page.get_by_label("Name").fill(account)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("button", name="Allow").wait_for()


async def allow(page: Page) -> None:
    """Consent; the service sends the browser back."""
    await page.get_by_role("button", name="Allow").click()


async def cancel(page: Page) -> None:
    """Refuse; the service sends the browser back."""
    await page.get_by_role("button", name="Cancel").click()
