"""Requests that two readers could take for different things; every one has to be refused.

Each holds the bytes of a genuine message, so that a lenient reader stores it, or finds another
one behind it.
"""


def joined(line: bytes, fields: list[bytes], body: bytes, end: bytes = b"\r\n") -> bytes:
    """Return a request from its lines, each ended by `end`."""
    return end.join([line, *fields, b"", b""]) + body


def chunk(body: bytes, extension: bytes = b"", last: bytes = b"0\r\n\r\n") -> bytes:
    """Return a body as one chunk."""
    return b"%x%b\r\n%b\r\n%b" % (len(body), extension, body, last)


#: A coding that some readers take for `chunked` and others do not.
_CODINGS = (
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunkedx",
    b"Transfer-Encoding: chunked;q=1",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: chunked,",
    b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding:",
    b"Transfer-Encoding: chunk",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: chunked\x0b",
    b"Transfer-Encoding: chunked\x00",
    b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked",
    b" Transfer-Encoding: chunked",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding\r\n: chunked",
    b"X: x\nTransfer-Encoding: chunked",
    b"X: x\rTransfer-Encoding: chunked",
    b"Transfer-Encoding\x00: chunked",
    b"Transfer-Encoding: chunked\r",
    b"\x00Transfer-Encoding: chunked",
)
#: The coding as it may be written; beside a length it is refused like any other.
_SPELLINGS = (b"Transfer-Encoding: Chunked", b"Transfer-Encoding: CHUNKED")


def forms(path: bytes, usual: list[bytes], body: bytes, hidden: bytes) -> dict[str, bytes]:
    """Return every form by its name.

    path: where a genuine message goes. usual: the fields it has, without Host and framing.
    body: a genuine body, which would be accepted were it framed properly.
    hidden: a whole genuine request that hides in the body of another.
    """
    line = b"POST %b HTTP/1.1" % path
    host = b"Host: relay.test"
    length = b"Content-Length: %d" % len(body)
    coded = b"Transfer-Encoding: chunked"
    whole = joined(line, [host, *usual, length], body)
    chunked = chunk(body)

    def sized(*fields: bytes, start: bytes = line, end: bytes = b"\r\n") -> bytes:
        return joined(start, [*fields, *usual, length], body, end)

    def coding(*fields: bytes, start: bytes = line, framed: bytes = chunked) -> bytes:
        return joined(start, [host, *usual, *fields], framed)

    def line_of(text: bytes) -> bytes:
        return sized(host, start=text)

    return {
        # Two lengths, or a length and a coding.
        "CL.TE": coding(length, coded),
        "TE.CL": coding(coded, length),
        "CL.TE with another request inside": coding(
            b"Content-Length: 5", coded, framed=b"0\r\n\r\n" + hidden
        ),
        "TE.CL with another request inside": coding(
            coded, b"Content-Length: 4", framed=chunk(hidden)
        ),
        "CL.CL equal": sized(host, length),
        "CL.CL different": sized(host, b"Content-Length: 0"),
        "CL list": joined(
            line, [host, *usual, b"Content-Length: %d, %d" % (len(body), len(body))], body
        ),
        "CL list of different": joined(
            line, [host, *usual, b"Content-Length: 0, %d" % len(body)], body
        ),
        # Numbers that readers take in their own way.
        **{
            f"CL {value!r}": joined(line, [host, *usual, b"Content-Length: " + value], body)
            for value in (
                b"+%d" % len(body),
                b"-%d" % len(body),
                b"0x%x" % len(body),
                b"%d " % len(body) + b"x",
                b"%d.0" % len(body),
                b"%de0" % len(body),
                b'"%d"' % len(body),
                b"",
                b" ",
                b"1_0",
                b"\xd9\xa1",
                b"%d;" % len(body),
                b"9" * 16,
                b"18446744073709551616",
            )
        },
        # Codings that are not exactly `chunked`: alone, and so that one reader goes by the length,
        # the other by the coding, and what is left over is a request.
        **{repr(each): coding(each) for each in _CODINGS},
        **{
            f"{each!r}, CL.TE": coding(
                b"Content-Length: %d" % len(b"0\r\n\r\n" + hidden),
                each,
                framed=b"0\r\n\r\n" + hidden,
            )
            for each in (*_CODINGS, *_SPELLINGS)
        },
        **{
            f"{each!r}, TE.CL": coding(
                b"Content-Length: %d" % len(b"%x\r\n" % len(hidden)), each, framed=chunk(hidden)
            )
            for each in (*_CODINGS, *_SPELLINGS)
        },
        "TE.TE": coding(coded, coded),
        "TE.TE, spelled in two ways": coding(coded, _SPELLINGS[0]),
        "TE over HTTP/1.0": coding(coded, start=b"POST %b HTTP/1.0" % path),
        "TE over HTTP/1.0, spelled": coding(_SPELLINGS[1], start=b"POST %b HTTP/1.0" % path),
        # Chunks.
        "chunk extension": coding(coded, framed=chunk(body, b";a=b")),
        "chunk extension without a name": coding(coded, framed=chunk(body, b";")),
        "chunk extension with a bare LF": coding(coded, framed=chunk(body, b";a\n")),
        "chunk extension of the last": coding(coded, framed=chunk(body, last=b"0;a=b\r\n\r\n")),
        "chunk trailer": coding(coded, framed=chunk(body, last=b"0\r\nX: y\r\n\r\n")),
        "chunk trailer with a length": coding(
            coded, framed=chunk(body, last=b"0\r\nContent-Length: 5\r\n\r\n")
        ),
        "chunk trailer announced": coding(coded, b"Trailer: X"),
        "chunk end of line is a bare LF": coding(coded, framed=chunked.replace(b"\r\n", b"\n", 1)),
        "chunk ends in a bare LF": coding(coded, framed=b"%x\r\n%b\n0\r\n\r\n" % (len(body), body)),
        "chunk ends in nothing": coding(coded, framed=b"%x\r\n%b0\r\n\r\n" % (len(body), body)),
        "chunk longer than said": coding(
            coded, framed=b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - 1, body)
        ),
        "chunk end is a bare LF": coding(coded, framed=chunk(body, last=b"0\n\n")),
        **{
            f"chunk size {size!r}": coding(coded, framed=size + b"\r\n" + body + b"\r\n0\r\n\r\n")
            for size in (
                b"0x%x" % len(body),
                b"+%x" % len(body),
                b"-%x" % len(body),
                b" %x" % len(body),
                b"%x " % len(body),
                b"%x\t" % len(body),
                b"",
                b"zz",
                b"%x_0" % len(body),
                b"%017x" % len(body),
                b"fffffffffffffffff",
                b"%x\x00" % len(body),
                b"\xef\xbb\xbf%x" % len(body),
                b"%x," % len(body),
            )
        },
        # Lines.
        "obs-fold": sized(host, b"X: a\r\n b"),
        "obs-fold with a tab": sized(host, b"X: a\r\n\tb"),
        "obs-fold of the first field": sized(b" folded: x", host),
        "bare LF for every line": sized(host, end=b"\n"),
        "bare LF in the middle": sized(host, b"X: a\nY: b"),
        "bare LF behind the request line": whole.replace(b"\r\n", b"\n", 1),
        "bare LF before the body": whole.replace(b"\r\n\r\n", b"\r\n\n", 1),
        "bare CR for every line": sized(host, end=b"\r"),
        "bare CR in a value": sized(host, b"X: a\rb"),
        "bare CR before CRLF": sized(host, b"X: a\r"),
        "NUL in a value": sized(host, b"X: a\x00b"),
        "NUL in a name": sized(host, b"X\x00Y: b"),
        "DEL in a value": sized(host, b"X: a\x7fb"),
        "escape in a value": sized(host, b"X: \x1b[31m"),
        "space before the colon": sized(host, b"X : y"),
        "length before a space and a colon": joined(
            line, [host, *usual, b"Content-Length : %d" % len(body)], body
        ),
        "no colon": sized(host, b"X"),
        "no name": sized(host, b": x"),
        "space in a name": sized(host, b"X Y: z"),
        "name that is no token": sized(host, b"X(Y): z"),
        "name beyond ASCII": sized(host, b"X\xe9: z"),
        "line before the request": b"\r\n" + whole,
        "space before the request": b" " + whole,
        # Host.
        "no Host": sized(),
        "Host twice": sized(host, host),
        "Host twice, different": sized(host, b"Host: other.test"),
        "Host empty": sized(b"Host:"),
        "Host with a path": sized(b"Host: relay.test/x"),
        "Host with a user": sized(b"Host: a@relay.test"),
        "Host with a space": sized(b"Host: relay.test other"),
        "Host with a comma": sized(b"Host: relay.test, other"),
        # Request lines.
        "absolute form": line_of(b"POST http://relay.test%b HTTP/1.1" % path),
        "absolute form, other host": line_of(b"POST http://other.test%b HTTP/1.1" % path),
        "authority form": line_of(b"CONNECT relay.test:443 HTTP/1.1"),
        "CONNECT with a path": line_of(b"CONNECT %b HTTP/1.1" % path),
        "asterisk form": line_of(b"OPTIONS * HTTP/1.1"),
        "target without a slash": line_of(b"POST %b HTTP/1.1" % path[1:]),
        "target with a fragment": line_of(b"POST %b#x HTTP/1.1" % path),
        "target with a space": line_of(b"POST %b x HTTP/1.1" % path),
        "target with a tab": line_of(b"POST %b\tx HTTP/1.1" % path),
        "target with a NUL": line_of(b"POST %b\x00 HTTP/1.1" % path),
        "target beyond ASCII": line_of(b"POST %b\xe9 HTTP/1.1" % path),
        "two spaces": line_of(b"POST  %b HTTP/1.1" % path),
        "a tab for a space": line_of(b"POST\t%b HTTP/1.1" % path),
        "a space at the end": line_of(b"POST %b HTTP/1.1 " % path),
        "method in lower case": line_of(b"post %b HTTP/1.1" % path),
        "method in mixed case": line_of(b"Post %b HTTP/1.1" % path),
        "method nobody knows": line_of(b"POSTER %b HTTP/1.1" % path),
        "no version": line_of(b"POST %b" % path),
        "HTTP/0.9": b"GET %b\r\n" % path,
        "HTTP/0.9 said": line_of(b"POST %b HTTP/0.9" % path),
        "HTTP/1.2": line_of(b"POST %b HTTP/1.2" % path),
        "HTTP/2.0": line_of(b"POST %b HTTP/2.0" % path),
        "HTTP/11": line_of(b"POST %b HTTP/11" % path),
        "HTTP/1.10": line_of(b"POST %b HTTP/1.10" % path),
        "http/1.1": line_of(b"POST %b http/1.1" % path),
        "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
        # What would turn the connection into something else.
        "Upgrade": sized(host, b"Connection: Upgrade", b"Upgrade: websocket"),
        "Upgrade alone": sized(host, b"Upgrade: h2c"),
        "Upgrade of the connection alone": sized(host, b"Connection: upgrade"),
        "Upgrade among others": sized(host, b"Connection: keep-alive, Upgrade", b"Upgrade: h2c"),
        "Expect something else": sized(host, b"Expect: 200-ok"),
        "Expect twice": sized(host, b"Expect: 100-continue", b"Expect: 100-continue"),
        "Expect more": sized(host, b"Expect: 100-continue, x"),
    }
