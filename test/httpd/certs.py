# SPDX-License-Identifier: Apache-2.0
"""A throwaway certificate authority, made with the openssl command."""
import os

from tools import run


def _openssl(*argv):
    done = run(["openssl", *argv])
    assert done.returncode == 0, done.stderr


class Authority:
    """Certificates that only who trusts `ca` accepts."""

    def __init__(self, folder, name="gbalance test CA"):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.ca = os.path.join(folder, "ca.pem")
        self.ca_key = os.path.join(folder, "ca.key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-days", "2", "-subj", f"/CN={name}", "-keyout", self.ca_key, "-out", self.ca,
                 "-addext", "basicConstraints=critical,CA:TRUE",
                 "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, label, names=("localhost",), usage="serverAuth"):
        """(certificate file, key file); for an address in both forms: httpd looks for it among the names"""
        base = os.path.join(self.folder, label)
        alt = ",".join([f"DNS:{n}" for n in names] + [f"IP:{n}" for n in names if n[-1].isdigit()])
        with open(base + ".ext", "w", encoding="ascii") as f:
            f.write(f"subjectAltName={alt}\nextendedKeyUsage={usage}\n")
        _openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-subj", f"/CN={names[0]}", "-keyout", base + ".key", "-out", base + ".csr")
        _openssl("x509", "-req", "-in", base + ".csr", "-CA", self.ca, "-CAkey", self.ca_key,
                 "-CAcreateserial", "-days", "2", "-extfile", base + ".ext", "-out", base + ".pem")
        return base + ".pem", base + ".key"
