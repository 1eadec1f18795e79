"""Places that no value may name, whoever allows it, and what may never be replaced.

Paths come out of Valkey. Whoever can write there must gain no more on a node than to offer certificates: never a file
by which the system trusts, starts or admits somebody.
"""

from __future__ import annotations

import base64
import binascii
import re

MAX_CERTIFICATES = 16
"""In a file that is a certificate with its chain; more of them are somebody's trust store."""

_ENDS = (".pem", ".crt", ".cer", ".cert", ".chain", ".bundle", ".fullchain", ".key")
"""What a file straight in `/` or `/etc` must end in: the others there are the system's."""

_BELOW = (
    "/bin/",
    "/boot/",
    "/efi/",
    "/etc/acpi/",
    "/etc/alternatives/",
    "/etc/apk/",
    "/etc/apparmor/",
    "/etc/apt/",
    "/etc/ca-certificates/",
    "/etc/cloud/",
    "/etc/containers/",
    "/etc/cron.",
    "/etc/dbus-1/",
    "/etc/default/",
    "/etc/dhcp/",
    "/etc/dnf/",
    "/etc/docker/",
    "/etc/dpkg/",
    "/etc/dracut/",
    "/etc/dropbear/",
    "/etc/efi-keys/",
    "/etc/firewalld/",
    "/etc/ima/",
    "/etc/init/",
    "/etc/initramfs-tools/",
    "/etc/ipa/",
    "/etc/kernel/",
    "/etc/keys/",
    "/etc/kubernetes/manifests/",
    "/etc/kubernetes/pki/ca.",
    "/etc/kubernetes/pki/etcd/ca.",
    "/etc/kubernetes/pki/front-proxy-ca.",
    "/etc/kubernetes/pki/sa.",
    "/etc/libvirt/hooks/",
    "/etc/netplan/",
    "/etc/network/",
    "/etc/networkmanager/",
    "/etc/openssl/",
    "/etc/opkg/",
    "/etc/pki/akmods/",
    "/etc/pki/ca-trust/",
    "/etc/pki/ca/",
    "/etc/pki/java/",
    "/etc/pki/nssdb/",
    "/etc/pki/rpm-gpg/",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/certs/",
    "/etc/pki/trust/",
    "/etc/polkit-1/",
    "/etc/ppp/",
    "/etc/puppet",
    "/etc/rc",
    "/etc/salt/",
    "/etc/secureboot/",
    "/etc/security/",
    "/etc/selinux/",
    "/etc/skel/",
    "/etc/ssh/",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs/",
    "/etc/ssl/trust/",
    "/etc/sysconfig/",
    "/etc/systemd/",
    "/etc/tinc/",
    "/etc/tls/certs/",
    "/etc/udev/",
    "/etc/wireguard/",
    "/etc/x11/",
    "/etc/xdg/",
    "/etc/yum/",
    "/etc/zypp/",
    "/gnu/store/",
    "/lib/",
    "/lib32/",
    "/lib64/",
    "/libexec/",
    "/libx32/",
    "/nix/",
    "/proc/",
    "/run/dbus/",
    "/run/initramfs/",
    "/run/networkmanager/",
    "/run/resolvconf/",
    "/run/systemd/",
    "/run/udev/",
    "/sbin/",
    "/snap/",
    "/sys/",
    "/system/",
    "/usr/",
    "/var/cache/apt/",
    "/var/cron/",
    "/var/lib/accountsservice/",
    "/var/lib/apt/",
    "/var/lib/ca-certificates/",
    "/var/lib/cloud/",
    "/var/lib/containerd/",
    "/var/lib/containers/storage/overlay",
    "/var/lib/dbus/",
    "/var/lib/dkms/",
    "/var/lib/docker/overlay2/",
    "/var/lib/dpkg/",
    "/var/lib/networkmanager/",
    "/var/lib/pacman/",
    "/var/lib/polkit-1/",
    "/var/lib/rpm/",
    "/var/lib/sbctl/",
    "/var/lib/shim-signed/",
    "/var/lib/snapd/",
    "/var/lib/systemd/",
    "/var/spool/at/",
    "/var/spool/cron/",
)
_LOCAL = ("/usr/local/bin/", "/usr/local/games/", "/usr/local/include/", "/usr/local/lib", "/usr/local/man/",
          "/usr/local/sbin/", "/usr/local/share/", "/usr/local/src/")  # fmt: skip
_FOLDERS = frozenset(
    {
        ".aws", ".docker", ".git", ".gnupg", ".kube", ".mozilla", ".pki", ".ssh",
        ".postgresql", "anchors", "autostart", "ca-certificates", "ca-trust", "cacerts", "certifi", "conf-enabled",
        "dist-packages", "mods-enabled", "modules-enabled", "node_modules", "renewal-hooks", "site-packages",
        "sites-enabled", "systemd", "trust-source", "udev", "x509ca",
    },
)  # fmt: skip
_NAMES = (
    ".bash",
    ".cshrc",
    ".knit-",
    ".login",
    ".netrc",
    ".pam_environment",
    ".pgpass",
    ".profile",
    ".rhosts",
    ".shosts",
    ".zlog",
    ".zprofile",
    ".zsh",
    "authorized_",
    "ca-bundle",
    "ca-certificates",
    "cacert",
    "crontab",
    "known_hosts",
    "ssh_host_",
    "ssh_known_hosts",
    "sudoers",
    "tls-ca-bundle",
)
_OTHER_KINDS = re.compile(
    r".*\.(asc|cfg|cnf|conf|desktop|gpg|ini|json|keytab|mount|policy|pth|repo|rules|service|socket|timer|toml|xml|ya?ml)"
)
_HASHED = re.compile(r"[0-9a-f]{8}\.r?[0-9]+")
"""OpenSSL trusts a certificate in a folder of authorities for having such a name."""

_DROP_IN = re.compile(r"/(etc|run)/[^/]+\.d/")

_PEM = re.compile(
    rb"\s*-----BEGIN (?P<label>CERTIFICATE|(?:(?:EC|RSA|DSA|ENCRYPTED) )?PRIVATE KEY|(?:EC|DH) PARAMETERS)-----\s"
    rb"(?P<body>[A-Za-z0-9+/=\s]*|[A-Za-z0-9+/=\s:,-]*?)-----END (?P=label)-----\s*"
)
_AUTHORITY = re.compile(rb"\x06\x03\x55\x1d\x13(?:\x01\x01\xff)?\x04.\x30.\x01\x01\xff", re.DOTALL)
"""Basic constraints (RFC 5280 section 4.2.1.9) that say CA."""


def never(path: str) -> bool:
    """Whether a system can trust, start or admit somebody by this file. Nothing allows it, and no case of letters."""
    path = path.lower()
    if path.startswith("/usr/local/etc/"):
        return never(path.removeprefix("/usr/local"))
    *folders, name = path.split("/")
    return (
        _is_system_s(path)
        or (folders in (["", "etc"], [""]) and not name.endswith(_ENDS))
        or not _FOLDERS.isdisjoint(folders)
        or name.startswith(_NAMES)
        or _HASHED.fullmatch(name) is not None
        or _OTHER_KINDS.fullmatch(name) is not None
    )


def _is_system_s(path: str) -> bool:
    if path.startswith("/usr/local/"):
        return path.startswith(_LOCAL)
    if path.startswith("/dev/"):
        return not path.startswith("/dev/shm/")  # noqa: S108 -- a path to judge, not to use
    return path.startswith(_BELOW) or _DROP_IN.match(path) is not None


def replaceable(data: bytes, *, paired: bool) -> bool:
    """Whether these bytes, which this node did not write, are a certificate or a key in PEM and nothing else.

    An authority's certificate is what something trusts, unless its own key lies beside it (`paired`): then it is a
    placeholder that signed itself.
    """
    certificates, keys, position = [], 0, 0
    while position < len(data):
        block = _PEM.match(data, position)
        if block is None:
            return False
        if block["label"] == b"CERTIFICATE":
            certificates.append(block["body"])
        keys += block["label"].endswith(b"PRIVATE KEY")
        position = block.end()
    if not certificates:
        # Parameters alone are something that a server was told to use.
        return keys > 0
    return len(certificates) <= MAX_CERTIFICATES and (paired or not _is_authority(certificates[0]))


def _is_authority(body: bytes) -> bool:
    try:
        return _AUTHORITY.search(base64.b64decode(body)) is not None
    except binascii.Error:
        return False
