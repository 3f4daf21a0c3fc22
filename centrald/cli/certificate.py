"""`centrald certificate`: the service's own certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, show, show_one
from centrald.clock import SystemClock

app = typer.Typer(help="The server certificate, and when the others end.", no_args_is_help=True)


@app.command("list")
def list_(directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """List server certificate and authorities with their ends."""
    from centrald import pki
    from centrald.config import load

    now = SystemClock().now()
    rows: list[dict[str, Any]] = []
    for role, name in load(directory).certificates().items():
        for one in pki.read_certificates(directory / name):
            left = (one.not_valid_after_utc - now).days
            rows.append({"role": role, "file": name, "expires_at": one.not_valid_after_utc, "days_left": left})
    show(rows, as_json=as_json, title="Certificates")


@app.command()
def renew(
    directory: Directory = DEFAULT_DIRECTORY,
    server_name: Annotated[
        list[str] | None,
        typer.Option(help="Host name or address; repeat for more. [those of the present certificate]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replace the server certificate and its key, issued by the directory's own authority.

    A running service takes them from the next connection on, without a restart; connections that stand go on. So it
    does, too, when certificate and key are replaced by other means.
    """
    from centrald import pki
    from centrald.config import load
    from centrald.initialize import SERVER_AUTHORITY, SERVER_AUTHORITY_KEY

    tls = load(directory).tls
    certificate, key = directory / tls.certificate, directory / tls.key
    names = server_name or pki.names_of(pki.read_certificates(certificate)[0])
    authority = pki.load(directory / Path(SERVER_AUTHORITY), directory / SERVER_AUTHORITY_KEY)
    issued = pki.server_certificate(authority, names, SystemClock().now())
    issued.replace(certificate, key)
    shown = {"names": names if as_json else " ".join(names), "expires_at": issued.certificate.not_valid_after_utc}
    show_one(shown, as_json=as_json)
