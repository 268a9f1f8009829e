"""What the proxy passes on to the services that come with the project, unless an operator says more."""

import pytest

from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.errors import CallNotAllowedError, InvalidValueError
from supabase_integrations.core.proxy_messages import check_body_type
from supabase_integrations.core.proxy_rule import METHODS
from supabase_integrations.core.proxy_rules import ProxyRules
from supabase_integrations.resources import catalogue_file

CATALOGUE = Catalogue.from_files({"services.toml": catalogue_file().read_text()}, lambda _: None, development=False)
RULES = ProxyRules.of(CATALOGUE, [])

READS = {
    ("google_ads", "/customers/1/googleAds:search"),
    ("google_ads", "/customers/1/googleAds:searchStream"),
    ("hubspot", "/crm/v3/objects/contacts/search"),
    ("hubspot", "/crm/objects/2026-03/contacts/search"),
}
"""POSTs that change nothing."""
WRITES = {
    ("meta_ads", "/"),
    ("meta_ads", "/me"),
    ("meta_ads", "/act_1/campaigns"),
    ("meta_ads", "/act_1/async_batch_requests"),
    ("google_ads", "/"),
    ("google_ads", "/batch"),
    ("google_ads", "/customers/1/googleAds:mutate"),
    ("google_ads", "/customers/1/campaigns:mutate"),
    ("google_ads", "/customers/1/googleAds:search/googleAds:mutate"),
    ("google_ads", "/customers/1/2/googleAds:search"),
    ("hubspot", "/crm/v3/objects/contacts"),
    ("hubspot", "/crm/v3/objects/contacts/batch/archive"),
    ("hubspot", "/crm/v3/objects/contacts/merge"),
    ("hubspot", "/crm/v3/objects/contacts/gdpr-delete"),
    ("hubspot", "/crm/objects/2026-03/contacts/batch/create"),
    ("hubspot", "/crm/v3/schemas/contacts/search"),
    ("shopify", "/graphql.json"),
    ("shopify", "/products.json"),
}


def is_allowed(service: str, method: str, path: str) -> bool:
    try:
        RULES.check(CATALOGUE.get(service), method, path.split("/")[1:])
    except CallNotAllowedError:
        return False
    return True


@pytest.mark.parametrize(("service", "path"), sorted(READS | WRITES))
def test_nothing_is_changed_by_what_is_allowed(service: str, path: str) -> None:
    allowed = {method for method in METHODS if is_allowed(service, method, path)}
    assert allowed == {"GET", "HEAD"} | ({"POST"} if (service, path) in READS else set())


def test_no_other_method_than_these_is_in_our_catalogue() -> None:
    rules = {rule for service in CATALOGUE for rule in service.proxy if not rule.startswith("GET ")}
    assert {rule.partition(" ")[0] for rule in rules} == {"POST"}
    assert {rule.rpartition("/")[2] for rule in rules} == {"search", "googleAds:search", "googleAds:searchStream"}


FORM, JSON, PARTS = "application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("service", "taken"),
    [("meta_ads", {FORM}), ("google_ads", {JSON}), ("shopify", {JSON}), ("hubspot", {FORM, JSON, PARTS})],
)
def test_a_service_gets_no_body_in_which_it_would_find_a_method(service: str, taken: set[str]) -> None:
    for content_type in (FORM, JSON, PARTS):
        if content_type in taken:
            check_body_type(CATALOGUE.get(service), content_type)
        else:
            with pytest.raises(InvalidValueError):
                check_body_type(CATALOGUE.get(service), content_type)
