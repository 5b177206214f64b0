# SPDX-License-Identifier: MIT
"""`recorder certificate`: a certificate for a first try of `recorder serve --relay`."""

import os
from pathlib import Path
from typing import Final

import click

from recorder.cli.console import print_result
from recorder.errors import FileError, OptionError
from recorder.writing.disk import make_folder

_DAYS: Final = 365
_CERTIFICATE: Final = "relay-cert.pem"
_KEY: Final = "relay-key.pem"


@click.command("certificate")
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--host",
    default="localhost",
    show_default=True,
    metavar="NAME",
    help="The name or address by which clients connect.",
)
def certificate_command(directory: Path, host: str) -> None:
    """Make a certificate and its key for `recorder serve --relay`.

    It is signed by itself, and good for a year: clients have to be given it. Prints what
    the server and the clients need. Nothing is overwritten.
    """
    try:
        certificate, key = _certificate(host)
    except ImportError:
        raise OptionError(
            "certificate needs the extra `relay`: pip install 'recorder-telephony[relay]'"
        ) from None
    directory = directory.absolute()
    make_folder(directory, 0o600)
    paths = directory / _CERTIFICATE, directory / _KEY
    for path in paths:
        if path.exists():
            raise FileError(f"{path} is there already: nothing is overwritten")
    _write(paths[0], certificate, 0o644)
    _write(paths[1], key, 0o600)
    print_result(
        f"# the server's options\n--tls-cert {paths[0]} --tls-key {paths[1]}\n"
        f"# the clients' environment; behind the name comes the port of --relay\n"
        f"SIGNALWIRE_RELAY_CA_FILE={paths[0]}\nNODE_EXTRA_CA_CERTS={paths[0]}\n"
        f"SIGNALWIRE_SPACE={host}:PORT\n"
        "SIGNALWIRE_PROJECT_ID=what --project says\n"
        "SIGNALWIRE_API_TOKEN=what RECORDER_TOKEN says"
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    """Make a file, never over another one, that nobody else could read for a moment."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise FileError(f"cannot make {path}: {error.strerror or error}") from error


def _certificate(host: str) -> tuple[bytes, bytes]:
    """Return a certificate and its key in PEM. ImportError without the library."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    try:
        name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not host.isascii() or not host or len(host) > 64 or set(host) & set(" /:@?"):
            raise OptionError(f"--host: expected a name or an address, got {host!r}") from None
        name = x509.DNSName(host)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # for clocks that are slow
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return certificate.public_bytes(pem), key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
