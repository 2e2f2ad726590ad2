"""A certificate of a host, from an authority that exists for one test run."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


def write_certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """Writes what a client trusts and what the server of a host proves itself with.

    Returns:
        File of the authority's certificate, for ``SSL_CERT_FILE``, and file of the
        server's key and certificate.
    """
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in 'ab')
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'authority of a test')])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    is_authority = x509.BasicConstraints(ca=True, path_length=0)
    authority = (
        _builder(name, name, authority_key)
        .add_extension(is_authority, critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _builder(subject, name, server_key)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    trusted, proof = folder / 'authority.pem', folder / 'server.pem'
    trusted.write_bytes(authority.public_bytes(pem))
    private = server_key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    proof.write_bytes(private + certificate.public_bytes(pem))
    return trusted, proof


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )
