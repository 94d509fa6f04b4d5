"""What the stock Python client of gRPC sees of refusals. Run by tests/tonic.rs, which says on the
standard input which calls to make and what must come of them."""

import json
import sys

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

HELLO = b"\x0a\x05hello"
UNARY = "/grpc.examples.echo.Echo/UnaryEcho"
SERVER = "/grpc.examples.echo.Echo/ServerStreamingEcho"
CLIENT = "/grpc.examples.echo.Echo/ClientStreamingEcho"
BIDIRECTIONAL = "/grpc.examples.echo.Echo/BidirectionalStreamingEcho"


def call(channel, method, metadata):
    """Makes a call, and waits for its end."""
    if method == UNARY:
        return channel.unary_unary(method)(HELLO, metadata=metadata, timeout=30)
    if method == SERVER:
        return next(channel.unary_stream(method)(HELLO, metadata=metadata, timeout=30))
    if method == CLIENT:
        return channel.stream_unary(method)(iter([HELLO, HELLO]), metadata=metadata, timeout=30)
    answers = channel.stream_stream(method)(iter([HELLO, HELLO]), metadata=metadata, timeout=30)
    return b"".join(answers)


def refusal(case):
    metadata = [("authorization", value) for value in case["authorization"]]
    with grpc.insecure_channel(case["address"]) as channel:
        try:
            call(channel, case["method"], metadata)
        except grpc.RpcError as error:
            return error
    raise AssertionError(f"{case['reason']}: it was let through")


def check(case):
    error = refusal(case)
    seen = {"code": error.code().value[0], "message": error.details()}
    trailers = dict(error.trailing_metadata())
    seen["challenge"] = trailers.get("www-authenticate")
    status = rpc_status.from_call(error)
    assert status.code == seen["code"] and status.message == seen["message"], status
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    seen["has_retry"] = False
    for detail in status.details:
        if detail.Unpack(info):
            seen["reason"] = info.reason
            seen["metadata"] = dict(info.metadata)
            assert info.domain == "portcullis", info
        elif detail.Unpack(retry):
            seen["has_retry"] = retry.retry_delay.seconds >= 1
        else:
            raise AssertionError(f"an unknown detail: {detail}")
    for name, value in seen.items():
        assert value == case[name], f"{case['reason']}: {name} is {value!r}, not {case[name]!r}"
    print(f"{error.code().name}: {info.reason}: {error.details()}")


def main():
    script = json.load(sys.stdin)
    for case in script["refused"]:
        check(case)
    admitted = script["admitted"]
    metadata = [("authorization", f"Bearer {admitted['token']}")]
    expected = {UNARY: HELLO, SERVER: HELLO, CLIENT: b"\x0a\x0ahellohello", BIDIRECTIONAL: HELLO + HELLO}
    with grpc.insecure_channel(admitted["address"]) as channel:
        for method, answer in expected.items():
            seen = call(channel, method, metadata)
            assert seen == answer, f"{method}: {seen}"
            print(f"OK: {method}")
    print(f"{len(script['refused'])} calls refused as they should be, {len(expected)} let through")


main()
