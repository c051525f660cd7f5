"""Which Temporal to connect to: the embedded server, one of your own, or Temporal Cloud."""

from dataclasses import dataclass, field

from temporalio.service import TLSConfig

from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class TemporalTarget:
    """What a client needs to connect. The API key does not show when this is printed."""

    address: str
    namespace: str = "default"
    tls: bool | TLSConfig = field(default=False, repr=False)
    api_key: str | None = field(default=None, repr=False)


def temporal_target(settings: Settings, embedded_address: str = "") -> TemporalTarget:
    """CURB_TEMPORAL_ADDRESS with its namespace, TLS and key; else the embedded server, which has none."""
    if not settings.temporal_address:
        return TemporalTarget(embedded_address)
    key = settings.temporal_api_key
    return TemporalTarget(
        settings.temporal_address,
        settings.temporal_namespace,
        _tls(settings),
        key.get_secret_value() if key else None,
    )


def _tls(settings: Settings) -> TLSConfig | bool:
    """Off, the system's authorities, or the files that the settings name."""
    if not settings.uses_tls:
        return False
    certificate, key, authority = (
        path.read_bytes() if path else None
        for path in (settings.temporal_tls_cert, settings.temporal_tls_key, settings.temporal_tls_ca)
    )
    if not (certificate or authority or settings.temporal_tls_server_name):
        return True
    return TLSConfig(
        server_root_ca_cert=authority,
        domain=settings.temporal_tls_server_name or None,
        client_cert=certificate,
        client_private_key=key,
    )
