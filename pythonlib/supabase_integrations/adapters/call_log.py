"""Every call of a third-party service as one structured line: no query, no header, no body, of the path no id."""

from typing import Final

from ..port_service_http import ServiceCall
from .structured_log import StructuredLog

_log: Final = StructuredLog("calls")


class StructuredCallLog:
    """Implements `port_service_http.CallLog`."""

    def called(self, call: ServiceCall) -> None:
        """A reply's head has come, or none did."""
        _log.info(
            "service.called",
            service=call.service_name,
            integration_id=str(call.integration_id),
            method=call.method,
            path=call.path_template,
            status=call.status,
            error=call.error,
            duration_ms=round(call.seconds * 1000, 2),
            attempt=call.attempt,
        )
