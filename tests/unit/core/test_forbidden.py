"""What no value may name, and what is replaced where a value may."""

from __future__ import annotations

import pytest

from knit.core.forbidden import MAX_CERTIFICATES, never, replaceable
from tests.integration.node import pki

PAIR = pki.pair()
ROOT = pki.authority()


@pytest.mark.parametrize(
    "path",
    [
        "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/mine.pem", "/etc/ssl/cert.pem", "/etc/SSL/Certs/x.pem",
        "/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/tls/cert.pem", "/etc/pki/ca-trust/source/anchors/x.pem",
        "/etc/pki/java/cacerts", "/etc/ca-certificates/trust-source/anchors/x.crt", "/usr/share/ca-certificates/x.crt",
        "/usr/local/share/ca-certificates/x.crt", "/usr/local/etc/ssl/cert.pem", "/var/lib/ca-certificates/x.pem",
        "/srv/trust/4a6481c9.0", "/srv/trust/4a6481c9.r1", "/opt/java/lib/security/cacerts", "/home/me/.pki/nssdb/x",
        "/etc/ssh/sshd_config", "/etc/ssh/ssh_host_rsa_key", "/etc/ssh/sshd_config.d/x.pem", "/srv/ssh_host_rsa_key",
        "/etc/hostname", "/etc/nologin", "/etc/hosts.allow", "/etc/machine-id", "/etc/wireguard/wg0.key",
        "/usr/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib64/x", "/usr/libexec/x",
        "/usr/local/lib/python3/site-packages/x.pem", "/usr/share/keyrings/x", "/etc/nginx/conf.d/x.conf",
        "/etc/nginx/sites-enabled/x.pem", "/etc/docker/certs.d/hub/ca.crt", "/etc/kubernetes/manifests/x.pem",
        "/etc/letsencrypt/renewal-hooks/deploy/x.pem", "/run/tmpfiles.d/x.pem", "/etc/ssl/openssl.cnf",
        "/etc/dropbear/dropbear_rsa_host_key.pem", "/etc/salt/pki/master/master.pem", "/etc/tinc/net/rsa_key.priv",
        "/etc/puppetlabs/puppet/ssl/certs/ca.pem", "/etc/keys/x509_ima.pem", "/etc/kubernetes/pki/ca.crt",
        "/etc/kubernetes/pki/etcd/ca.key", "/etc/pki/akmods/certs/public_key.pem", "/etc/pki/CA/cacert.pem",
        "/etc/ipa/ca.crt", "/var/lib/shim-signed/mok/MOK.priv", "/var/lib/sbctl/keys/db/db.pem",
        "/var/lib/docker/overlay2/0a/merged/etc/ssl/x.pem", "/opt/venv/lib/python3.11/site-packages/certifi/x.pem",
        "/opt/app/certifi/cacert.pem", "/home/alice/.postgresql/root.crt", "/etc/nginx/modules-enabled/x.pem",
    ],
)  # fmt: skip
def test_what_a_system_trusts_starts_or_admits_by_is_never_written(path: str) -> None:
    assert never(path)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/ssl/private/www.key", "/etc/ssl/knit/www.pem", "/etc/pki/tls/private/x.key", "/etc/nginx/conf.d/www.pem",
        "/etc/letsencrypt/live/x/fullchain.pem", "/etc/haproxy/certs/www.pem", "/etc/www.crt", "/etc/postfix/tls/key",
        "/usr/local/etc/haproxy/www.pem", "/usr/local/nginx/conf/www.key", "/var/lib/postgresql/server.key",
        "/opt/app/tls/tls.crt", "/certs/shop.example.pl", "/certs/www.example.sh", "/tls.crt", "/run/haproxy/www.pem",
        "/libraries/www.pem", "/home/me/.config/app/www.key",
        "/etc/kubernetes/pki/apiserver.crt", "/var/lib/docker/volumes/tls/_data/www.pem", "/etc/openvpn/server/www.crt",
    ],
)  # fmt: skip
def test_where_servers_keep_their_pairs_is_written(path: str) -> None:
    assert not never(path)


@pytest.mark.parametrize(
    "data",
    [
        PAIR.fullchain,
        PAIR.privkey,
        PAIR.privkey + PAIR.fullchain,
        b"\n" + PAIR.fullchain.replace(b"\n", b"\r\n") + b"\n\n",
        PAIR.privkey.replace(b" PRIVATE", b" RSA PRIVATE"),
        PAIR.privkey.replace(b" PRIVATE", b" RSA PRIVATE").replace(
            b"KEY-----\n", b"KEY-----\nDEK-Info: AES-128-CBC,AB\n\n", 1
        ),
    ],
)
def test_a_certificate_or_a_key_is_replaced(data: bytes) -> None:
    assert replaceable(data, paired=False)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n",
        b"knit\n",
        b"\x7fELF",
        b"<ca>\n" + PAIR.fullchain + b"</ca>\n",
        PAIR.fullchain + b"PermitRootLogin yes\n",
        PAIR.fullchain * MAX_CERTIFICATES,
        PAIR.fullchain.replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE"),
        PAIR.privkey.replace(b" PRIVATE", b" OPENSSH PRIVATE"),
        ROOT.fullchain,
        ROOT.fullchain + PAIR.fullchain,
    ],
)
def test_anything_else_is_not(data: bytes) -> None:
    assert not replaceable(data, paired=False)


def test_an_authority_is_replaced_only_where_its_key_lies_beside_it() -> None:
    assert replaceable(ROOT.fullchain, paired=True)
