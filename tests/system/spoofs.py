"""Ways to claim to be somebody else, as raw bytes: more than two hundred, none of which may work.

Each form is a genuine message, so that nothing but its sender's address stands against it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from tests.harness.wire import SIGNATURE, proxy_v1, proxy_v2, request, tlv, with_checksum
from tests.system.fronts import OUTER, STRANGER, message


@dataclass(frozen=True, slots=True)
class Spoof:
    """One attempt. `answers`: how many requests a careful reader finds in it."""

    name: str
    raw: bytes
    answers: int = 1


#: Everything that some server, framework or network takes a client's address from.
NAMES = (
    *("X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "X-Client-IP", "Client-IP"),
    *("CF-Connecting-IP", "CF-Connecting-IPv6", "CF-Pseudo-IPv4", "Fastly-Client-IP", "X-Real-Ip"),
    *("X-Cluster-Client-IP", "X-Originating-IP", "X-Remote-IP", "X-Remote-Addr", "Remote-Addr"),
    *("X-ProxyUser-Ip", "X-Forwarded", "Forwarded-For", "Forwarded-For-Ip", "X-Forwarder-For"),
    *("WL-Proxy-Client-IP", "Proxy-Client-IP", "X-Azure-ClientIP", "X-Azure-SocketIP", "Via"),
    *("X-Appengine-User-IP", "X-Envoy-External-Address", "X-Original-Forwarded-For", "X-Host"),
    *("X-Original-Remote-Addr", "X-Client", "X-From", "Source-IP", "CloudFront-Viewer-Address"),
    *("X-Amzn-Client-IP", "Ali-CDN-Real-IP", "X-Nginx-Proxy", "X-Proxy-Protocol", "PROXY"),
    *("Relay-Client-Address", "X_Forwarded_For", "X-Forwarded_For", "HTTP_X_FORWARDED_FOR"),
    *("x-forwarded-for", "X-FORWARDED-FOR", "x-Forwarded-fOR", "forwarded", "FORWARDED"),
    *("XForwardedFor", "X-Forwarded-For-", "-X-Forwarded-For", "X-Forwarded-For.", "REMOTE_ADDR"),
)


def spoofs(victim: str) -> Iterator[Spoof]:
    """Yield every form, claiming to be `victim`."""
    for name in NAMES:
        yield _fields(f"{name} alone", f"{name}: {victim}")
        yield _fields(f"{name} twice", f"{name}: {victim}, {victim}")
    for value in _lists(victim):
        yield _fields(f"X-Forwarded-For {value[:40]!r}", f"X-Forwarded-For: {value}")
    for value in _elements(victim):
        yield _fields(f"Forwarded {value!r}", f"Forwarded: {value}")
    yield from _several(victim)
    yield from _spelled(victim)
    for name, header in headers(victim):
        yield Spoof(f"PROXY {name}", header + message())
    yield from _inside(victim)


def _lists(who: str) -> Iterator[str]:
    number = int(IPv4Address(who))
    octets = who.split(".")
    yield from (f"{who},{who}", f"{who}, {STRANGER}", f"127.0.0.1, {who}", f"{who}, 127.0.0.1")
    yield from (f"{who}, {OUTER}", f"{who}, 127.0.0.1, {OUTER}", f"{who}, ::1", f"::1, {who}")
    yield from (f'"{who}"', f"'{who}'", f"[{who}]", f"<{who}>", f"({who})", f"{who}:443")
    yield from (f"[::ffff:{who}]", f"::ffff:{who}", f"[::ffff:{who}]:443", f"::{who}")
    yield from (f"64:ff9b::{who}", f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1")
    yield from (
        ".".join(f"0{each}" for each in octets),
        ".".join(f"{int(each):#x}" for each in octets),
    )
    yield from (
        ".".join(f"{int(each):#o}" for each in octets),
        ".".join(f"{int(e):03}" for e in octets),
    )
    yield from (str(number), hex(number), f"{octets[0]}.{number & 0xFFFFFF}", f"{who}.", f".{who}")
    yield from (
        f"{who}%eth0",
        f"{who}%00",
        f"{who}%2c",
        f"{who}/32",
        f"{who}/0",
        f"{who}#",
        f"{who}?",
    )
    yield from (f"{who};", f";{who}", f",{who}", f"{who},", f",,{who}", f"{who},,", f"{who} , ")
    yield from (f"{who} {who}", f"{who}|{STRANGER}", f"{who}\t", f"\t{who}", f"{who}\t,\t{who}")
    yield from (f"unknown, {who}", f"{who}, unknown", "unknown", f"_hidden, {who}", "-", "*", "0")
    yield from (f"for={who}", f"for={who};by=127.0.0.1", f"{who} (me)", f"me@{who}", "localhost")
    yield from ("127.0.0.1", f"127.0.0.1, {OUTER}", "::1", OUTER, "", " ", ",", "null", "undefined")
    yield from (
        f"{who}\x0b",
        f"{who}\x0c",
        f"{who}\x7f",
        f"{who}\xa0",
        f"\xa0{who}",
        f"\xef\xbb\xbf{who}",
    )
    yield from (
        f"{who}\x85,{who}",
        ", ".join([who] * 300),
        f"{who}, " + "127.0.0.1, " * 200 + "::1",
    )
    yield from (who.replace("7", "\xef\xbc\x97"), who.replace(".", "\xe3\x80\x82"), f"+{who}")


def _elements(who: str) -> Iterator[str]:
    yield from (f"for={who}", f'for="{who}"', f"For={who}", f"FOR={who}", f"for={who}:443")
    yield from (f'for="{who}:443"', f'for="[::ffff:{who}]"', f'for="[::ffff:{who}]:443"')
    yield from (
        f"for={who};by=127.0.0.1",
        f"by={who}",
        f"host={who};for={who}",
        f"for={who};for={who}",
    )
    yield from (f"for={who},for={who}", f"for={who}, for=127.0.0.1", f"for=127.0.0.1, for={who}")
    yield from (f"for={who};x=", f'for={who};x="', f'for="{who}', f'for={who};x="\\', f'"for={who}')
    yield from (
        f"for={who};",
        f";for={who}",
        f"for={who},",
        f",for={who}",
        f"for = {who}",
        f"for={who} x",
    )
    yield from (
        f"for=unknown, for={who}",
        f"for={who}, for=unknown",
        f"for=_x, for={who}",
        "for=",
        "for",
    )
    yield from (f"for:{who}", f"for={who}|", who, f"for='{who}'", f'for="\\{who}"', f"fo%72={who}")
    yield from (
        f'for={who};proto="http',
        f'for={who};by="a,for=',
        f"for={who}\t;\tby=x",
        f"f or={who}",
    )


def _several(who: str) -> Iterator[Spoof]:
    name, other = "X-Forwarded-For", "Forwarded"
    for values in (
        *((who, who), (who, STRANGER), (STRANGER, who), (who, "127.0.0.1"), ("127.0.0.1", who)),
        *(("", who), (who, ""), (who, OUTER), (OUTER, who), ("unknown", who), (who, "unknown")),
        *((who,) * 20, ("127.0.0.1",) * 3 + (who,), (f'"{who}', '"'), (f"{who},", who), (who, " ")),
    ):
        shown = " and ".join(values)[:40]
        yield _fields(f"{name} lines {shown}", *(f"{name}: {value}" for value in values))
        yield _fields(f"{other} lines {shown}", *(f"{other}: for={value}" for value in values))
    yield _fields("both headers", f"{name}: {who}", f"{other}: for={who}")
    yield _fields(
        "two spellings", f"{name}: {who}", f"{name.lower()}: {who}", f"{name.upper()}: {who}"
    )
    # Asks a proxy to drop what it adds, as a field of this hop.
    for more in (name, f"close, {name}", f"keep-alive, {other}", f"{name}, {other}"):
        yield _fields(
            f"Connection {more}", f"{name}: {who}", f"{other}: for={who}", f"Connection: {more}"
        )
    yield _fields("no forwarding at all", "Connection: close, X-Forwarded-For, Forwarded")


def _spelled(who: str) -> Iterator[Spoof]:
    """Yield fields that two readers may see differently."""
    for name in ("X-Forwarded-For", "Forwarded"):
        value = who if name.startswith("X") else f"for={who}"
        for line in (
            *(f"{name}:\r\n {value}", f"{name}:\r\n\t{value}", f"X-A: b\r\n {name}: {value}"),
            *(f"{name}: {STRANGER}\r\n ,{value}", f"{name} : {value}", f"{name}\t: {value}"),
            *(
                f" {name}: {value}",
                f"\t{name}: {value}",
                f"{name}\x00: {value}",
                f"\x00{name}: {value}",
            ),
            *(
                f"{name}: {value}\x00",
                f"{name}:\x00{value}",
                f"X-A: b\n{name}: {value}",
                f"{name} {value}",
            ),
            *(
                f"X-A: b\r{name}: {value}",
                f"{name}: {value}\n",
                f"{name}: {value}\r",
                f"\x0b{name}: {value}",
            ),
            *(
                f"{name}:: {value}",
                f": {value}",
                f"\r{name}: {value}",
                f"{name}\xa0: {value}",
                f"{name}={value}",
            ),
            *(
                f"\xef\xbb\xbf{name}: {value}",
                f"X-A: b\x0b{name}: {value}",
                f"X-A: \x85{name}: {value}",
            ),
        ):
            yield _fields(f"spelled {line!r}", line)


def headers(who: str) -> Iterator[tuple[str, bytes]]:
    """Yield PROXY headers that claim to speak for somebody, right ones and wrong ones."""
    four, mapped = IPv4Address(who), IPv6Address(f"::ffff:{who}")
    line = proxy_v1(four)
    yield from (("v1", line), ("v1 mapped", proxy_v1(mapped)), ("v1 twice", line * 2))
    yield from (
        ("v1 LF", line.replace(b"\r", b"")),
        ("v1 lower", line.lower()),
        ("v1 blank", b" " + line),
    )
    yield from (
        ("v1 CRLF before", b"\r\n" + line),
        ("v1 long", line.replace(b" 443", b" 443" + b" " * 80)),
    )
    yield from (
        ("v1 padded", line.replace(b" 443", b" 0443")),
        ("v1 tabs", line.replace(b" ", b"\t")),
    )
    yield from (
        ("v1 short", b"PROXY TCP4 " + who.encode() + b"\r\n"),
        ("v1 UNKNOWN", b"PROXY UNKNOWN\r\n"),
    )
    yield "v1 UNKNOWN with addresses", b"PROXY UNKNOWN " + who.encode() + b" 127.0.0.1 1 2\r\n"
    yield "v1 list", line.replace(who.encode(), f"{who},{STRANGER}".encode(), 1)
    yield "v1 then v2", line + proxy_v2(four)
    yield from (
        ("v2", proxy_v2(four)),
        ("v2 mapped", proxy_v2(mapped)),
        ("v2 twice", proxy_v2(four) * 2),
        ("v2 then v1", proxy_v2(four) + line),
    )
    yield from (
        ("v2 checksum", with_checksum(four)),
        ("v2 zero checksum", proxy_v2(four, tlv(3, bytes(4)))),
    )
    for command in (0x20, 0x22, 0x2F, 0x11, 0x31, 0x01, 0xF1, 0x00):
        yield f"v2 command {command:#x}", proxy_v2(four, command=command)
    right = proxy_v2(four)
    for family in (0x00, 0x01, 0x10, 0x12, 0x20, 0x21, 0x22, 0x31, 0x32, 0x41, 0xFF):
        yield f"v2 family {family:#x}", right[:13] + bytes((family,)) + right[14:]
    for length in (0, 1, 11, 13, 15, 36, 216, 520, 521, 4096, 65535):
        yield f"v2 length {length}", right[:14] + length.to_bytes(2) + right[16:]
    for cut in (1, 6, 12, 13, 15, 16, 20, 27):
        yield f"v2 cut at {cut}", right[:cut]
    yield "v2 bare addition", proxy_v2(four, b"\x04")
    yield "v2 long addition", proxy_v2(four, b"\x04\xff\xff")
    yield "v2 signature twice", SIGNATURE + right


def _inside(who: str) -> Iterator[Spoof]:
    """Yield claims inside of what otherwise is a request, or behind one."""
    line = proxy_v1(IPv4Address(who)).decode().strip()
    yield _fields("PROXY line among fields", line)
    yield _fields("PROXY line in a field", f"X-A: {line}")
    yield Spoof("absolute target", message().replace(b"POST /", f"POST http://{who}/".encode()))
    yield Spoof("user in target", message().replace(b"POST /", f"POST http://{who}@x/".encode()))
    yield Spoof("Host", message().replace(b"Host: pay.example.com", f"Host: {who}".encode()))
    yield Spoof("query", message().replace(b" HTTP/", f"?X-Forwarded-For={who} HTTP/".encode(), 1))
    claim = f"X-Forwarded-For: {who}\r\nForwarded: for={who}\r\n".encode()
    head, _, body = message().partition(b"\r\n\r\n")
    bare = b"\r\n".join(
        each for each in head.split(b"\r\n") if not each.startswith(b"Content-Length")
    )
    chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n"
    chunked = bare + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk
    yield Spoof("trailers", chunked + claim + b"\r\n")
    yield Spoof(
        "announced trailers",
        chunked.replace(b"\r\n", b"\r\nTrailer: Forwarded\r\n", 1) + claim + b"\r\n",
    )
    health = request("GET", "/healthz")
    claimed = message().replace(b"\r\n", b"\r\n" + claim, 1)
    yield Spoof("behind a request", health + claimed, 2)
    yield Spoof("PROXY v1 behind a request", health + line.encode() + b"\r\n" + message(), 2)
    yield Spoof("PROXY v2 behind a request", health + proxy_v2(IPv4Address(who)) + message(), 2)
    yield Spoof("in a body", request("POST", "/healthz", body=claimed), 1)
    for kind, fields in (
        ("length and coding", [("Content-Length", "4"), ("Transfer-Encoding", "chunked")]),
        ("coding and length", [("Transfer-Encoding", "chunked"), ("Content-Length", "4")]),
        ("two lengths", [("Content-Length", "0"), ("Content-Length", str(len(claimed)))]),
        ("odd coding", [("Transfer-Encoding", "xchunked"), ("Content-Length", "5")]),
        ("coding with a tab", [("Transfer-Encoding", "\tchunked"), ("Content-Length", "5")]),
    ):
        yield Spoof(
            f"smuggled by {kind}", request("POST", "/healthz", fields, b"0\r\n\r\n" + claimed), 2
        )


def _fields(name: str, *lines: str) -> Spoof:
    added = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
    return Spoof(name, message().replace(b"\r\n", b"\r\n" + added, 1))
