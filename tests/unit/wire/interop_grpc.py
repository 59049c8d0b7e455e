#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Goal: wire/grpc talks to gRPC's own implementation, as a server and as a client. Method: Debian's python3-grpcio at the other end
# of a Unix socket; messages are plain bytes, so no .proto is needed. Usage: interop_grpc.py GRPC_PEER
import concurrent.futures, os, subprocess, sys, tempfile, threading

try:
    import grpc
except ImportError:
    print("skipped: python3-grpcio is not installed (deploy/setup does it)")
    sys.exit(77)

checks = 0


def check(what, got, expected):
    global checks
    checks += 1
    if got != expected:
        print(f"FAILED {what}: got {got!r}, expected {expected!r}")
        sys.exit(1)


def our_server(peer, directory):
    path = os.path.join(directory, "ours")
    server = subprocess.Popen([peer, "serve", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    check("server starts", server.stdout.readline(), "ready\n")
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel("unix:" + path, options=options) as channel:
        echo = channel.unary_unary("/rw.Test/Echo")
        for size in (0, 1, 5, 16379, 16384, 65536, 1024 * 1024):
            payload = os.urandom(size)
            check(f"unary echo of {size}", echo(payload, timeout=20) == payload, True)
        bidi = channel.stream_stream("/rw.Test/Echo")
        items = [os.urandom(n * 37) for n in range(200)]
        check("200 messages there and back", list(bidi(iter(items), timeout=20)) == items, True)
        # ping-pong: each answer is awaited before the next question
        answers, go = [], threading.Semaphore(1)
        def questions():
            for n in range(50):
                go.acquire()
                yield b"q%d" % n
        for answer in bidi(questions(), timeout=20):
            answers.append(answer)
            go.release()
        check("ping-pong", answers, [b"q%d" % n for n in range(50)])
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            results = list(pool.map(lambda n: echo(b"%d" % n, timeout=20), range(5000)))
        # gRPC answers each small message with window updates and PINGs: that is no flood.
        check("5000 calls, 32 at once", results, [b"%d" % n for n in range(5000)])
        check("20000 small messages", sum(map(len, bidi(iter([b"abc"] * 20000), timeout=60))), 60000)
        stream = channel.unary_stream("/rw.Test/Stream")
        got = list(stream(b"300 20000", timeout=30))
        check("a stream of 6 MB against back-pressure", (len(got), sum(map(len, got))), (300, 6000000))
        for code in grpc.StatusCode:
            if code == grpc.StatusCode.OK:
                continue  # well, but without an answer: the library makes an error of its own of it
            try:
                channel.unary_unary("/rw.Test/Fail")(b"x", metadata=[("x-code", str(code.value[0]))], timeout=20)
                seen = None
            except grpc.RpcError as e:
                seen = (e.code(), e.details())
            check(f"status {code.name}", seen, (code, "100 % wrong: \u00e9\n"))
        for what, method, payload, options, code in (
            ("unknown method", "/rw.Test/Nothing", b"", {}, grpc.StatusCode.UNIMPLEMENTED),
            ("deadline", "/rw.Test/Hang", b"", {"timeout": 0.3}, grpc.StatusCode.DEADLINE_EXCEEDED),
            ("too large", "/rw.Test/Echo", b"x" * (1024 * 1024 + 1), {}, grpc.StatusCode.RESOURCE_EXHAUSTED),
            ("compressed", "/rw.Test/Echo", b"x" * 1000, {"compression": grpc.Compression.Gzip}, grpc.StatusCode.UNIMPLEMENTED),
        ):
            try:
                channel.unary_unary(method)(payload, **{"timeout": 20, **options})
                seen = None
            except grpc.RpcError as e:
                seen = e.code()
            check(what, seen, code)
        cancelled = channel.unary_unary("/rw.Test/Hang").future(b"")
        cancelled.cancel()
        check("a call after all of these", echo(b"well", timeout=20), b"well")
    # What is no gRPC at all gets an HTTP status; by curl, since no gRPC library sends such a thing. No bodies: an answer that comes
    # before the body is sent is an error to this curl, reset with NO_ERROR or not.
    for what, arguments, status in (
        ("GET", [], "405"),
        ("another content type", ["-X", "POST", "-H", "content-type: text/plain"], "415"),
        ("no te", ["-X", "POST", "-H", "content-type: application/grpc"], "400"),
        ("like gRPC", ["-X", "POST", "-H", "content-type: application/grpc", "-H", "te: trailers"], "200"),
    ):
        curl = ["curl", "-s", "-m", "10", "--http2-prior-knowledge", "--unix-socket", path, "-o", "/dev/null", "-w", "%{http_code}"]
        got = subprocess.run(curl + arguments + ["http://x/rw.Test/Echo"], stdout=subprocess.PIPE, text=True)
        check(f"curl: {what}", got.stdout, status)
    server.stdin.close()
    counters = dict(pair.split("=") for pair in server.stdout.readline().split())
    check("server ends well", server.wait(20), 0)
    check("what was refused was counted", (counters["encoding"], counters["message"], counters["http"]), ("1", "1", "3"))


class Theirs(grpc.GenericRpcHandler):
    def service(self, details):
        token = dict(details.invocation_metadata).get("authorization")
        name = details.method

        def unary(request, context):
            if token != "secret":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you? \u00e9")
            return request

        def count(request, context):
            for n in range(100):
                yield b"y" * n

        def bidi(requests, context):
            for request in requests:
                yield request

        def slow(request, context):
            done = threading.Event()
            context.add_callback(done.set)
            done.wait(20)
            return request

        if name == "/rw.Test/Unary":
            return grpc.unary_unary_rpc_method_handler(unary)
        if name == "/rw.Test/Count":
            return grpc.unary_stream_rpc_method_handler(count)
        if name == "/rw.Test/Bidi":
            return grpc.stream_stream_rpc_method_handler(bidi)
        if name == "/rw.Test/Slow":
            return grpc.unary_unary_rpc_method_handler(slow)
        if name == "/rw.Test/Large":
            return grpc.unary_unary_rpc_method_handler(lambda request, context: b"z" * (1024 * 1024 + 1))
        return None


def our_client(peer, directory):
    path = os.path.join(directory, "theirs")
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), handlers=[Theirs()])
    server.add_insecure_port("unix:" + path)
    server.start()
    done = subprocess.run([peer, "call", path], stdout=subprocess.PIPE, text=True, timeout=60)
    server.stop(None)
    check("client ends well", done.returncode, 0)
    check(
        "what our client saw",
        # who notices the deadline first is a race: either text
        done.stdout.replace("Deadline Exceeded", "the deadline is over").splitlines(),
        [
            "OK||1|5",
            "UNAUTHENTICATED|who are you? \u00e9|0|0",
            "OK||1|900000",
            "OK||1|0",
            "OK||100|4950",
            "OK||20|60000",
            "DEADLINE_EXCEEDED|the deadline is over|0|0",
            "UNIMPLEMENTED|Method not found!|0|0",
            "RESOURCE_EXHAUSTED|a message is larger than is taken here|0|0",
            "OK||1|7",
        ],
    )


with tempfile.TemporaryDirectory() as directory:
    our_server(sys.argv[1], directory)
    our_client(sys.argv[1], directory)
print(f"{checks} checks passed, gRPC {grpc.__version__}")
