"""Who may ask the server, how often and how slowly; nothing is computed for anybody else."""

import asyncio
import socket
import threading
import time

import pytest

pytest.importorskip("fastapi", reason="the extra 'explore' is not installed")
pytest.importorskip("httpx2", reason="httpx2, which drives the server in tests, is not installed")
from fastapi import FastAPI, HTTPException, Request
from starlette.testclient import TestClient

from probunet.explore import limits, serving
from probunet.explore.guard import LOOPBACK, Guard
from probunet.explore.limits import Load, Turns
from probunet.io.uploads import MAXIMUM_BYTES

HOST = "http://127.0.0.1:8777"
SECRET = "s" * 20


def guarded(token: str | None = None, hosts: tuple[str, ...] | None = LOOPBACK) -> tuple[FastAPI, list[str]]:
    """A server that notes for which paths it computed."""
    app, computed = FastAPI(), []

    @app.get("/{path:path}")
    def compute(path: str) -> str:
        computed.append(path)
        return path

    @app.post("/api/images")
    async def upload(request: Request) -> int:
        return len(await request.body())

    app.add_middleware(Guard, hosts=hosts, token=token)
    return app, computed


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, "/api/cases/0/hypotheses?n=128", 403),
        ({"Sec-Fetch-Site": "same-site"}, "/api/cases/0", 403),  # another port of this machine
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, "/", 200),  # a link to the page
        ({"Sec-Fetch-Site": "same-origin"}, "/api/cases/0", 200),
        ({"Sec-Fetch-Site": "none"}, "/api/cases/0", 200),  # typed
        ({}, "/api/cases/0", 200),  # a program
        ({"Host": "evil.example"}, "/api", 403),
        ({"Host": "127.0.0.1:8777@evil.example"}, "/api", 403),
        ({"Origin": "https://evil.example"}, "/api", 403),
        ({"Origin": HOST}, "/api", 200),
    ],
)
def test_other_sites_compute_nothing(headers, path, status):
    app, computed = guarded()
    assert TestClient(app, base_url=HOST).get(path, headers=headers).status_code == status
    assert len(computed) == (status == 200)


@pytest.mark.parametrize(
    ("declared", "path", "status"),
    [
        (str(MAXIMUM_BYTES), "/api/images", 200),
        (str(MAXIMUM_BYTES + 1), "/api/images", 413),
        (str(10**11), "/api/images", 413),
        ("9" * 4000, "/api/images", 413),
        ("-1", "/api/images", 413),
        ("1", "/api/cases", 413),
    ],
)
def test_a_declared_length_is_not_waited_for(declared, path, status):
    """The body never comes: only a refusal can be answered."""
    app, _ = guarded()
    answered = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        answered.append(message)

    scope = {
        "type": "http",
        "method": "POST" if path.endswith("images") else "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"content-length", declared.encode())],
        "client": ("127.0.0.1", 1),
    }
    asyncio.run(app(scope, receive, send))
    assert answered[0]["status"] == status
    assert status == 200 or (b"connection", b"close") in answered[0]["headers"]


def test_guesses_of_the_token_are_limited_by_rate(monkeypatch):
    app, computed = guarded(SECRET, None)
    clock = [0.0]
    monkeypatch.setattr(limits.time, "monotonic", lambda: clock[0])
    client = TestClient(app, base_url=HOST, follow_redirects=False)
    right, wrong = {"Authorization": f"Bearer {SECRET}"}, {"Authorization": "Bearer wrong"}
    assert client.get("/api", headers=right).status_code == 200
    for _ in range(30):  # without a token nothing is guessed
        assert client.get("/api").status_code == 401
    answers = [client.get(f"/?token=guess{i}").status_code for i in range(limits.GUESSES)]
    assert answers == [401] * limits.GUESSES
    assert client.get("/api", headers=wrong).status_code == 429
    assert client.get("/api", headers=right).status_code == 429  # or a guess would be worth a try
    other = TestClient(app, base_url=HOST, client=("192.0.2.7", 1))
    assert other.get("/api", headers=right).status_code == 200
    clock[0] += limits.WINDOW + 1
    assert client.get("/api", headers=right).status_code == 200
    assert len(computed) == 3


def test_the_token_comes_once_in_the_address_and_then_as_a_cookie():
    app, _ = guarded(SECRET, None)
    client = TestClient(app, base_url=HOST, follow_redirects=False)
    answer = client.get(f"/?token={SECRET}&case=3")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?case=3")
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert client.get("/api").status_code == 200
    assert client.get(f"/api?token={SECRET}").status_code == 200  # of the cookie
    assert TestClient(app, base_url=HOST).get(f"/api?token={SECRET}").status_code == 401


def test_a_client_waits_for_itself_and_not_others_for_it(monkeypatch):
    monkeypatch.setattr(limits, "COMPUTING", 2)
    monkeypatch.setattr(limits, "WAITING", 3)

    async def run() -> tuple[int, list[int], list[str]]:
        load, running, most, ends = Load(), [0], [0], asyncio.Event()

        async def work(client: str) -> str:
            try:
                async with load.computation(client):
                    running[0] += client == "a"
                    most[0] = max(most[0], running[0])
                    if client == "a":
                        await ends.wait()
                    running[0] -= client == "a"
                    return "done"
            except HTTPException as error:
                return str(error.status_code)

        many = [asyncio.create_task(work("a")) for _ in range(7)]
        await asyncio.sleep(0.01)
        other = await asyncio.wait_for(work("b"), 1)
        ends.set()
        answers = [await task for task in many]
        return most[0], sorted(answers), other, load._asked

    most, answers, other, left = asyncio.run(run())
    assert most == 2
    assert answers == ["429", "429", *["done"] * 5]
    assert (other, left) == ("done", {})


def test_uploads_under_way_are_few_and_end(monkeypatch):
    monkeypatch.setattr(limits, "UPLOAD_SECONDS", 0.05)

    async def held(load: Load) -> int:
        try:
            async with load.upload():
                await asyncio.sleep(10)
        except HTTPException as error:
            return error.status_code
        return 201

    async def run() -> list[int]:
        load = Load()
        return [*sorted(await asyncio.gather(*(held(load) for _ in range(30)))), load._uploading]

    answers = asyncio.run(run())
    assert answers == [*[408] * limits.UPLOADING, *[503] * (30 - limits.UPLOADING), 0]


def test_short_work_passes_between_the_steps_of_long_work():
    """What has just come waits for about one step, not for one of each; and all that is long gets on alike."""
    names = "abcdef"
    turns, order, ready = Turns(), [], threading.Barrier(len(names) + 1)

    def long(name: str) -> None:
        limits.new_asker()
        ready.wait()
        for _ in range(20):
            with turns.turn():
                order.append(name)
                time.sleep(0.002)

    threads = [threading.Thread(target=long, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    ready.wait()
    time.sleep(0.06)
    before = len(order)
    with turns.turn():
        waited = len(order) - before
    for thread in threads:
        thread.join()
    assert waited <= 3
    assert sorted(order) == sorted(names * 20)
    assert len(set(order[:30])) == len(names)


@pytest.fixture
def address(monkeypatch):
    """A real server with short patience."""
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.3)
    app, _ = guarded(SECRET, None)
    listener = serving.listening("127.0.0.1", 0)
    running = serving.server(app)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield listener.getsockname()
    running.should_exit = True
    thread.join(10)
    listener.close()


def closed_after(connection: socket.socket, most: float, drip: bytes = b"") -> float:
    """Seconds until the server closes, while single bytes go on coming."""
    start = time.monotonic()
    connection.settimeout(0.05)
    while time.monotonic() - start < most:
        try:
            if drip:
                connection.sendall(drip)
            if not connection.recv(4096):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - start


def test_slow_heads_are_cut_off_before_a_token_is_asked_for(address):
    with socket.create_connection(address) as silent, socket.create_connection(address) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        assert closed_after(slow, 3, b"a") < 2
        assert closed_after(silent, 3) < 2


def test_a_slow_second_head_is_cut_off_too(address):
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\nGET /api/health HTTP/1.1\r\nX-Slow: ")
        assert b"200 OK" in connection.recv(4096)
        assert closed_after(connection, 3, b"a") < 2


def test_endless_heads_and_bodies_without_a_token_are_refused(address):
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"a" * (4 * serving.HEAD_BYTES))
        assert b"400" in connection.recv(4096)
    with socket.create_connection(address) as connection:
        connection.sendall(b"POST /api/images?name=a.png HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert b"401" in connection.recv(4096)
        assert closed_after(connection, 3, b"a") < 2


def test_there_are_not_endless_connections(address, monkeypatch):
    monkeypatch.setattr(serving, "CONNECTIONS", 3)
    connections = [socket.create_connection(address) for _ in range(6)]
    time.sleep(0.1)
    assert sum(closed_after(connection, 0.15) < 0.1 for connection in connections) >= 2
    for connection in connections:
        connection.close()
