"""Certificates that the tests make when they run."""

import ipaddress
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


class Authority:
    """Signs certificates. Its own certificate is in a file."""

    def __init__(self, folder, name):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        is_ca = x509.BasicConstraints(ca=True, path_length=None)
        unsigned = builder(self.name, self.name, self.key).add_extension(is_ca, critical=True)
        self.file = folder / f"{name}.crt"
        self.file.write_bytes(pem(unsigned.sign(self.key, hashes.SHA256())))

    def issue(self, name, days=1, folder=None):
        """Writes a certificate for 127.0.0.1 and its key. Returns their paths."""
        certificate, key = self.issue_bytes(name, days)
        files = [(folder or self.folder) / f"{name}.{kind}" for kind in ("crt", "key")]
        for file, content in zip(files, (certificate, key)):
            file.write_bytes(content)
        return files

    def issue_bytes(self, name, days=1):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        sans = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(name)]
        unsigned = builder(subject, self.name, key, days).add_extension(
            x509.SubjectAlternativeName(sans), critical=False
        )
        unencrypted = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem(unsigned.sign(self.key, hashes.SHA256())), key.private_bytes(*unencrypted)


def builder(subject, issuer, key, days=1):
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 10 * DAY)
        .not_valid_after(now + days * DAY)
    )


def pem(certificate):
    return certificate.public_bytes(Encoding.PEM)
