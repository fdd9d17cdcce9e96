"""What each server is told: configuration files and the commands that start it, as a pure function of the options.

Paths begin with /mnt, where a server sees its run directory. Users exist from the start (u1, u2, ... with one
password), because not one of the three can be given another cheaply while it runs.

Read next: `mailtwin.testing.realservers`, which writes the files and starts the commands.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from mailtwin.testing._packages import Kind, RealServerError

__all__ = [
    "MASTER",
    "OAUTH_KEY",
    "PASSWORD",
    "SASL_DATABASE",
    "ServerOptions",
    "Setup",
    "sasl_database_script",
    "setup",
]

PASSWORD: Final = "pw"
MASTER: Final = "master"
"""Who may log in as anybody else, with password PASSWORD; on Dovecot and Cyrus."""
OAUTH_KEY: Final = b"secretsecretsecretsecretsecretsecret"
SASL_DATABASE: Final = "sasldb2"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a server is set up; None means what is usual for it.

    `separator` and `prefix` shape mailbox names; Courier knows only `.` and `INBOX.`. `special_use` creates Drafts,
    Sent, Trash and Junk with the first login (not on Courier); without it a fresh user has INBOX only. `mail_format`
    is Dovecot's. `extra` is appended to the main configuration file of Dovecot or Cyrus.
    """

    separator: str | None = None
    prefix: str | None = None
    special_use: bool = False
    mail_format: Literal["maildir", "sdbox", "mdbox"] = "maildir"
    users: int = 1000
    extra: str = ""


@dataclass(frozen=True, slots=True)
class Setup:
    """Files to write, by their path in the run directory, the bash script that starts the server, and its names."""

    files: Mapping[str, str]
    script: str
    separator: str
    prefix: str


def setup(kind: Kind, options: ServerOptions, port: int, tls_port: int) -> Setup:
    """The setup of one server on two ports. Raises RealServerError for options that this server does not have."""
    if options.mail_format != "maildir" and kind != "dovecot":
        raise RealServerError(f"{kind} has no mail format {options.mail_format}")
    match kind:
        case "dovecot":
            return _dovecot(options, port, tls_port)
        case "cyrus":
            return _cyrus(options, port, tls_port)
        case "courier":
            return _courier(options, port, tls_port)


# A test's own authority and server in one. The elliptic curve is for speed; a strict verifier wants the key usage.
_CERTIFICATE: Final = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=localhost \\
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext keyUsage=critical,digitalSignature,keyCertSign \\
  -keyout key.pem -out cert.pem 2>/dev/null
chmod 644 key.pem cert.pem
"""


# --- Dovecot 2.3 -------------------------------------------------------------------------------------------------


_DOVECOT: Final = """\
base_dir = /run/dovecot
state_dir = /mnt/state
log_path = /dev/stderr
protocols = imap
listen = 127.0.0.1
# Users that every Debian has.
default_internal_user = daemon
default_internal_group = daemon
default_login_user = nobody
first_valid_uid = 1
mail_uid = mail
mail_gid = mail
mail_access_groups = mail
mail_home = /mnt/home/%n
mail_location = {format}:~/{directory}
mail_plugins = quota acl notify
mail_attribute_dict = file:%h/dovecot-attributes
mail_fsync = never
# No limit and no delay of the server's own gets in the way of a test.
mail_max_userip_connections = 10000
default_vsz_limit = 0
auth_failure_delay = 0
service anvil {{
  client_limit = 10000
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  client_limit = 20000
}}
service imap-login {{
  service_count = 0
  client_limit = 5000
  process_min_avail = 1
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
service imap {{
  process_limit = 5000
}}
ssl = yes
ssl_cert = </mnt/cert.pem
ssl_key = </mnt/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 xoauth2 oauthbearer
auth_master_user_separator = *
passdb {{
  driver = passwd-file
  args = /mnt/masters
  master = yes
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = /mnt/oauth2.conf
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%n /mnt/passwords
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home=/mnt/home/%n
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
  prefix = {prefix}
{mailboxes}}}
protocol imap {{
  mail_plugins = $mail_plugins imap_quota imap_acl imap_zlib
  imap_metadata = yes
}}
plugin {{
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=10G
  acl = vfile
  # Rights are the mail's owner's, also where the master user has logged in for them.
  acl_user = %u
}}
{extra}
"""

# Tokens are checked against a key in a file, so that XOAUTH2 and OAUTHBEARER need no identity provider.
_DOVECOT_OAUTH: Final = """\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix=/mnt/keys/
username_attribute = email
"""


def _dovecot(options: ServerOptions, port: int, tls_port: int) -> Setup:
    separator = options.separator or "/"
    prefix = options.prefix or ""
    special = ("Drafts", "Sent", "Trash", "Junk") if options.special_use else ()
    configuration = _DOVECOT.format(
        format=options.mail_format,
        directory="Maildir" if options.mail_format == "maildir" else options.mail_format,
        port=port,
        tls_port=tls_port,
        separator=separator,
        prefix=prefix,
        mailboxes="".join(
            f"  mailbox {name} {{\n    auto = create\n    special_use = \\{name}\n  }}\n" for name in special
        ),
        extra=options.extra,
    )
    files = {
        "dovecot.conf": configuration,
        "oauth2.conf": _DOVECOT_OAUTH,
        "keys/default/HS256/default": base64.b64encode(OAUTH_KEY).decode(),
        "passwords": "".join(f"u{number}:{{PLAIN}}{PASSWORD}\n" for number in _numbers(options)),
        "masters": f"{MASTER}:{{PLAIN}}{PASSWORD}\n",
    }
    script = _CERTIFICATE + (
        "mkdir -p state home run/dovecot\nchown mail:mail home\ndovecot -F -c /mnt/dovecot.conf &\n"
    )
    return Setup(files, script, separator, prefix)


# --- Cyrus 3.6 ---------------------------------------------------------------------------------------------------


_CYRUS: Final = """\
configdirectory: /mnt/conf
partition-default: /mnt/spool
defaultpartition: default
cyrus_user: mail
servername: localhost
admins: admin
proxyservers: {master}
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: /mnt/{sasl_database}
sasl_mech_list: PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256
virtdomains: off
unixhierarchysep: {unix}
altnamespace: {alternative}
autocreate_quota: 0
autocreate_post: yes
{special}conversations: yes
expunge_mode: immediate
delete_mode: immediate
failedloginpause: 0
maxlogins_per_user: 0
maxlogins_per_host: 0
imapidlepoll: 1
lmtpsocket: /mnt/conf/socket/lmtp
idlesocket: /mnt/conf/socket/idle
notifysocket: /mnt/conf/socket/notify
tls_server_cert: /mnt/cert.pem
tls_server_key: /mnt/key.pem
tls_session_timeout: 0
{extra}
"""
_CYRUS_SPECIAL: Final = """\
autocreate_inbox_folders: Drafts | Sent | Trash | Junk
specialusealways: yes
xlist-drafts: Drafts
xlist-sent: Sent
xlist-trash: Trash
xlist-junk: Junk
"""
_CYRUS_SERVICES: Final = """\
START {{
  recover cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -C /mnt/imapd.conf -r"
  idled   cmd="/usr/lib/cyrus/bin/idled -C /mnt/imapd.conf"
}}
SERVICES {{
  imap  cmd="/usr/lib/cyrus/bin/imapd -C /mnt/imapd.conf -U 30" listen="127.0.0.1:{port}" prefork=1 maxchild=1000
  imaps cmd="/usr/lib/cyrus/bin/imapd -C /mnt/imapd.conf -s -U 30" listen="127.0.0.1:{tls_port}" prefork=0 maxchild=1000
}}
EVENTS {{
  checkpoint cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -C /mnt/imapd.conf -c" period=30
}}
"""
_CYRUS_SCRIPT: Final = f"""
mkdir -p spool conf/{{db,log,msg,proc,ptclient,socket,lock,user,quota,sieve}}
chown -R mail:mail spool conf {SASL_DATABASE}
cyrmaster -C /mnt/imapd.conf -M /mnt/cyrus.conf -p /mnt/run/master.pid &
"""


def _cyrus(options: ServerOptions, port: int, tls_port: int) -> Setup:
    separator = options.separator or "/"
    prefix = options.prefix or ""
    if separator not in ("/", ".") or prefix not in ("", f"INBOX{separator}"):
        raise RealServerError(f"cyrus cannot have the separator {separator!r} with the prefix {prefix!r}")
    files = {
        "imapd.conf": _CYRUS.format(
            master=MASTER,
            sasl_database=SASL_DATABASE,
            unix="yes" if separator == "/" else "no",
            alternative="no" if prefix else "yes",
            special=_CYRUS_SPECIAL if options.special_use else "",
            extra=options.extra,
        ),
        "cyrus.conf": _CYRUS_SERVICES.format(port=port, tls_port=tls_port),
    }
    return Setup(files, _CERTIFICATE + _CYRUS_SCRIPT, separator, prefix)


def sasl_database_script(users: int) -> str:
    """A bash script that makes Cyrus's database of `users` users, an administrator and the master.

    It takes some milliseconds a user, so the database is worth keeping. The realm has to be Cyrus's `servername`.
    """
    return f"""
for user in u{{1..{users}}} admin {MASTER}; do
  printf {PASSWORD} | saslpasswd2 -p -c -f {SASL_DATABASE} -u localhost $user
done &
"""


# --- Courier 5.0 -------------------------------------------------------------------------------------------------


_COURIER_AUTH: Final = """\
authmodulelist="authuserdb"
authmodulelistorig="authuserdb authpam authpipe"
daemons=5
authdaemonvar=/run/courier/authdaemon
DEBUG_LOGIN=0
DEFAULTOPTIONS=""
LOGGEROPTS=""
"""
_COURIER_ENVIRONMENT: Final = """\
IMAP_CAPABILITY="IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES \\
SORT QUOTA IDLE AUTH=PLAIN"
IMAP_STARTTLS=YES
IMAP_KEYWORDS=1
IMAP_ACL=1
IMAP_IDLE_TIMEOUT=1
IMAP_MAILBOX_SANITY_CHECK=0
IMAP_CHECK_ALL_FOLDERS=0
IMAP_OBSOLETE_CLIENT=0
IMAP_UMASK=022
IMAP_USELOCKS=1
IMAP_ENHANCEDIDLE=0
IMAP_TRASHFOLDERNAME=Trash
IMAP_EMPTYTRASH=
IMAP_MOVE_EXPUNGE_TO_TRASH=0
IMAP_SHAREDINDEXFILE=/etc/courier/shared/index
MAILDIRPATH=Maildir
COURIERTLS=/usr/bin/couriertls
TLS_CERTFILE=/etc/courier/imapd.pem
TLS_VERIFYPEER=NONE
"""
# STARTTLS changes to the compiled-in user courier, which then has to be somebody: an alias of mail. makeuserdb turns
# the table of users into a database beside it, so /etc/courier is writable, and the table must be root's alone.
_COURIER_SCRIPT: Final = """
chmod 600 /etc/courier/userdb
cat key.pem cert.pem >/etc/courier/imapd.pem
makeuserdb
mkdir -p home/u{{1..{users}}}/Maildir/{{cur,new,tmp}}
chown -R mail:mail home
set -a
. /etc/courier/authdaemonrc
. /etc/courier/imapd.env
set +a
mkdir -p /run/courier/authdaemon
chmod 755 /run/courier /run/courier/authdaemon
/usr/lib/courier/courier-authlib/authdaemond &
until [ -S /run/courier/authdaemon/socket ]; do sleep 0.02; done
serve="couriertcpd -address=127.0.0.1 -maxprocs=1000 -maxperip=1000 -nodnslookup -noidentlookup -user=root -group=root"
login="/usr/lib/courier/courier/imaplogin /usr/bin/imapd Maildir"
$serve {port} $login &
IMAP_STARTTLS=NO IMAP_TLS=1 $serve {tls_port} $COURIERTLS -server -tcpd -user=mail $login &
"""


def _courier(options: ServerOptions, port: int, tls_port: int) -> Setup:
    if options.separator not in (None, ".") or options.prefix not in (None, "INBOX."):
        raise RealServerError("courier has the separator '.' and the prefix 'INBOX.' only")
    if options.special_use or options.extra:
        raise RealServerError("courier has neither special-use mailboxes nor extra settings")
    password = "{SHA}" + base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
    files = {
        "etc/courier/authdaemonrc": _COURIER_AUTH,
        "etc/courier/imapd.env": _COURIER_ENVIRONMENT,
        "etc/courier/userdb": "".join(
            f"u{number}\tuid=8|gid=8|home=/mnt/home/u{number}|mail=/mnt/home/u{number}/Maildir|systempw={password}\n"
            for number in _numbers(options)
        ),
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/false\nmail:x:8:8::/:/bin/false\n"
        "courier:x:8:8::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
    }
    script = _CERTIFICATE + _COURIER_SCRIPT.format(users=options.users, port=port, tls_port=tls_port)
    return Setup(files, script, ".", "INBOX.")


def _numbers(options: ServerOptions) -> range:
    return range(1, options.users + 1)
