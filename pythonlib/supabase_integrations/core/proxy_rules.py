"""Which calls the proxy passes on: methods and paths by service, from the catalogue and from the operator."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Self

from .catalogue import Catalogue
from .errors import CallNotAllowedError, ConfigurationError
from .outgoing import parameter_name
from .proxy_rule import METHODS, ProxyRule
from .service import ServiceDefinition

_VERBS: Final = frozenset({*METHODS, "OPTIONS", "TRACE", "CONNECT", "MERGE", "PURGE", "COPY", "MOVE", "LINK", "UNLINK"})
_OVERRIDES: Final = re.compile(
    r"x?(?:http)?(?:method|verb)override|x?http(?:method|verb)|override(?:http)?method|xmethod"
    r"|httpheaders"
)
"""A parameter's letters that mean a method, however they are joined; or headers, as Google's `$httpHeaders` does."""
_NO_LETTER: Final = re.compile(r"[^a-z]")


class ProxyRules:
    """The rules of all services."""

    def __init__(self, rules: Mapping[str, tuple[ProxyRule, ...]]) -> None:
        self._rules = rules

    @classmethod
    def of(cls, catalogue: Catalogue, allowed: Iterable[str]) -> Self:
        """The catalogue's rules and the operator's, each of which is `service METHOD /pattern`.

        Raises ConfigurationError.
        """
        rules = {service.name: [ProxyRule.parse(text) for text in service.proxy] for service in catalogue}
        for text in allowed:
            name, _, rule = text.partition(" ")
            if name not in rules:
                raise ConfigurationError(f"PROXY_ALLOW: {text!r} does not begin with a service of the catalogue.")
            try:
                rules[name].append(ProxyRule.parse(rule.strip()))
            except ValueError as error:
                raise ConfigurationError(f"PROXY_ALLOW: {error}.") from None
        return cls({name: tuple(of_service) for name, of_service in rules.items()})

    def check(self, service: ServiceDefinition, method: str, segments: Sequence[str]) -> None:
        """Raise CallNotAllowedError unless some rule allows this call; a slash at a path's end makes no difference."""
        meant = segments[:-1] if len(segments) > 1 and not segments[-1] else segments
        if not any(rule.allows(method, meant) for rule in self._rules.get(service.name, ())):
            raise CallNotAllowedError


def overrides_method(name: str, value: str) -> bool:
    """Whether a parameter makes some servers take a request for one of another method, or for several in one."""
    meant = parameter_name(name)
    if meant == "method":
        return value.strip().upper() in _VERBS
    if meant == "batch":
        # Meta's: a list of calls, each with a method and a path.
        return "[" in name or value.strip()[:1] in ("[", "{")
    letters = _NO_LETTER.sub("", meant)
    return letters == "method" or _OVERRIDES.fullmatch(letters) is not None
