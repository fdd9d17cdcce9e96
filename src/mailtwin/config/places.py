"""Where things are: what the client connects to for an account, and the directory for what mailtwin remembers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from mailtwin.client import Endpoint, Place, Tunnel
from mailtwin.config.address import in_home
from mailtwin.config.settings import ImapSettings, Tls

_SECURITY: Mapping[Tls, Literal["tls", "starttls", "plain"]] = {
    Tls.IMPLICIT: "tls",
    Tls.STARTTLS: "starttls",
    Tls.OFF: "plain",
}


def default_state_dir() -> Path:
    """Where states are kept: `mailtwin` in `$XDG_STATE_HOME`, else in `~/.local/state`. Raises ConfigurationError."""
    import platformdirs

    return in_home(
        lambda: platformdirs.user_state_path("mailtwin"),
        "There is no place for the state",
        hint="Set HOME or XDG_STATE_HOME, or name a directory with --state-dir.",
    )


def place_of(settings: ImapSettings) -> Place:
    """What the client connects to. Raises ConfigurationError for what makes no sense."""
    if settings.tunnel is not None:
        line = settings.tunnel
        command = ("/bin/sh", "-c", line) if isinstance(line, str) else line
        return Tunnel(command, settings.host, settings.compress)
    return Endpoint(
        settings.host,
        settings.port,
        _SECURITY[settings.tls],
        settings.ca_file,
        # Asked for in so many words: an address of that kind says tls=off, a configuration tls = "off".
        allow_plain=settings.tls is Tls.OFF,
        compress=settings.compress,
    )
