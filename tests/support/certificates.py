"""Certificates for tests: each signed by its own key, for this machine's own names."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)


@dataclass(frozen=True, slots=True)
class Made:
    """A certificate and its key, in PEM."""

    cert: bytes
    key: bytes
    serial: int
    ends_at: float

    def lie_at(self, folder: Path) -> tuple[Path, Path]:
        """Written there, each as a whole."""
        pair = folder / "cert.pem", folder / "key.pem"
        for path, text in zip(pair, (self.cert, self.key), strict=True):
            part = path.with_suffix(".part")
            part.write_bytes(text)
            part.replace(path)
        return pair

    def trusted(self) -> ssl.SSLContext:
        """A client's that trusts this certificate alone."""
        return ssl.create_default_context(cadata=self.cert.decode())


def made(*, first_day: int = -1, last_day: int = 30, passphrase: bytes | None = None) -> Made:
    """For localhost and 127.0.0.1; days from now."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC).replace(microsecond=0)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fjord")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=first_day))
        .not_valid_after(now + timedelta(days=last_day))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    how: KeySerializationEncryption = NoEncryption()
    if passphrase is not None:
        how = BestAvailableEncryption(passphrase)
    return Made(
        cert.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how),
        cert.serial_number,
        cert.not_valid_after_utc.timestamp(),
    )


def shown(port: int | str, host: str = "127.0.0.1") -> int:
    """The serial number of the certificate that a new connection gets."""
    text = ssl.get_server_certificate((host, int(port)), timeout=10)
    return x509.load_pem_x509_certificate(text.encode()).serial_number
