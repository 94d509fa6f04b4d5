"""The `flight` example, by the stock client of PyPI's pyarrow.

FLIGHT_ADDRESS says where the example is (host:port). The tokens are in TOKEN_ADMIN (scopes read:data
and write:data, group DataEngineers), TOKEN_READER (scope read:data), TOKEN_STRANGER (no scope) and
TOKEN_EXPIRED. Prints a line for each thing checked; exits with 1 if one does not hold.
"""

import base64
import faulthandler
import os
import sys
import traceback

import pyarrow
from pyarrow import flight

ADDRESS = "grpc://" + os.environ["FLIGHT_ADDRESS"]
ADMIN, READER, STRANGER, EXPIRED = (
    os.environ["TOKEN_" + name] for name in ("ADMIN", "READER", "STRANGER", "EXPIRED")
)
# Whatever was there before, and whoever else is at it.
TABLE = f"python-{os.getpid()}"

NO_TOKEN = "a bearer token is needed"
TOO_OLD = "the token has expired"
NO_READ = "the token lacks a scope that is needed here: read:data"
NO_WRITE = "the token lacks a scope that is needed here: write:data"
NO_ADMIN = "the token's role is not sufficient here: admin is needed"

client = flight.connect(ADDRESS)
checks = []


def check(function):
    checks.append(function)
    return function


def sending(*headers):
    return flight.FlightCallOptions(headers=list(headers), timeout=30)


def bearer(token):
    return sending((b"authorization", b"Bearer " + token.encode()))


def path(table):
    return flight.FlightDescriptor.for_path(table)


def schema(table, options):
    try:
        return client.get_schema(path(table), options).schema
    except OSError as error:
        # For this call alone, pyarrow (26.0) says only in the text what it is.
        for kind in "Unauthenticated", "Unauthorized":
            if f"Detail: {kind}" in str(error):
                raise getattr(flight, f"Flight{kind}Error")(error) from error
        raise


def get(table, options):
    return client.do_get(flight.Ticket(table), options).read_all()


def put(table, data, options, max_chunksize=None):
    writer, results = client.do_put(path(table), data.schema, options)
    with writer:
        writer.write_table(data, max_chunksize)
        writer.done_writing()
        return results.read()


def act(action, body, options):
    results = client.do_action(flight.Action(action, body), options)
    return [result.body.to_pybytes() for result in results]


def refused(error, message, call, *arguments):
    """Calls, and sees it refused with this error and a text with this in it."""
    try:
        answer = call(*arguments)
    except error as refusal:
        # Those of pyarrow have base classes in common.
        assert type(refusal) is error, repr(refusal)
        assert message in str(refusal), refusal
    else:
        raise AssertionError(f"{error.__name__} was expected, not {answer!r}")


def unauthenticated(message, call, *arguments):
    refused(flight.FlightUnauthenticatedError, message, call, *arguments)


def unauthorized(message, call, *arguments):
    refused(flight.FlightUnauthorizedError, message, call, *arguments)


def numbers(*values):
    return pyarrow.table({"a": pyarrow.array(values, pyarrow.int64())})


def calls(options):
    """Each call that asks for something, by what a token without it is told."""
    data = numbers(1)
    return [
        (NO_READ, lambda: list(client.list_flights(options=options))),
        (NO_READ, lambda: client.get_flight_info(path("t"), options)),
        (NO_READ, lambda: schema("t", options)),
        (NO_READ, lambda: get("t", options)),
        (NO_WRITE, lambda: put("t", data, options)),
        (NO_ADMIN, lambda: act("echo", b"x", options)),
    ]


@check
def a_reader_lists_the_tables():
    infos = list(client.list_flights(options=bearer(READER)))
    assert path("t") in [info.descriptor for info in infos], infos


@check
def a_reader_is_told_of_a_table_and_reads_it_by_its_endpoint():
    info = client.get_flight_info(path("t"), bearer(READER))
    assert info.descriptor == path("t"), info
    assert info.schema == schema("t", bearer(READER)), info
    assert (info.schema.names, info.schema.types) == (["a"], [pyarrow.int64()]), info
    (endpoint,) = info.endpoints
    assert endpoint.locations == [], endpoint
    table = client.do_get(endpoint.ticket, bearer(READER)).read_all()
    assert table.schema == info.schema, table
    assert table.num_rows == info.total_records == 3, info
    assert table["a"].to_pylist() == [1, 2, 3], table


@check
def what_was_written_is_read():
    assert put(TABLE, numbers(4, None, 6), bearer(ADMIN)) == b""
    assert get(TABLE, bearer(READER)) == numbers(4, None, 6)
    put(TABLE, numbers(7, 8), bearer(ADMIN))
    assert get(TABLE, bearer(READER))["a"].to_pylist() == [4, None, 6, 7, 8]
    assert client.get_flight_info(path(TABLE), bearer(READER)).total_records == 5


@check
def a_writer_need_not_read_the_result():
    writer, _ = client.do_put(path(TABLE), numbers().schema, bearer(ADMIN))
    writer.write_batch(pyarrow.record_batch({"a": pyarrow.array([9], pyarrow.int64())}))
    writer.close()
    assert client.get_flight_info(path(TABLE), bearer(READER)).total_records == 6


@check
def many_batches_and_types_come_back_as_they_went():
    texts = ["x", "y", None] * 50_000
    data = pyarrow.table(
        {
            "text": texts,
            "words": pyarrow.array(texts).dictionary_encode(),
            "lists": [[1.5], [], None] * 50_000,
            "times": pyarrow.array([0, 1, None] * 50_000, pyarrow.timestamp("us", "UTC")),
            "nothing": pyarrow.nulls(150_000),
        }
    )
    put(TABLE + "-types", data, bearer(ADMIN), 10_000)
    assert get(TABLE + "-types", bearer(READER)) == data


@check
def an_empty_table_has_a_schema():
    put(TABLE + "-empty", numbers(), bearer(ADMIN))
    assert get(TABLE + "-empty", bearer(READER)) == numbers()


@check
def another_schema_is_refused():
    texts = pyarrow.table({"a": ["x"]})
    expected = "the table has another schema"
    refused(pyarrow.ArrowInvalid, expected, put, TABLE, texts, bearer(ADMIN))


@check
def an_admin_acts():
    assert act("echo", b"x", bearer(ADMIN)) == [b"x"]
    for table in TABLE, TABLE + "-types", TABLE + "-empty":
        assert act("drop", table.encode(), bearer(ADMIN)) == []
        refused(pyarrow.ArrowKeyError, "there is no such table", get, table, bearer(READER))
    expected = "there is no such action"
    refused(pyarrow.ArrowInvalid, expected, act, "shutdown", b"", bearer(ADMIN))


@check
def whoever_has_a_token_lists_the_actions():
    actions = client.list_actions(options=bearer(STRANGER))
    assert [action.type for action in actions] == ["echo", "drop"]


@check
def without_a_token_nothing_is_done():
    for _, call in calls(sending()):
        unauthenticated(NO_TOKEN, call)
    unauthenticated(NO_TOKEN, lambda: list(client.list_actions(options=sending())))


@check
def an_expired_token_is_of_no_use():
    for _, call in calls(bearer(EXPIRED)):
        unauthenticated(TOO_OLD, call)
    unauthenticated(TOO_OLD, lambda: list(client.list_actions(options=bearer(EXPIRED))))


@check
def a_stranger_is_told_what_is_missing():
    for message, call in calls(bearer(STRANGER)):
        unauthorized(message, call)


@check
def a_reader_neither_writes_nor_acts():
    for message, call in calls(bearer(READER)):
        if message == NO_READ:
            call()
        else:
            unauthorized(message, call)
    assert get("t", bearer(READER))["a"].to_pylist() == [1, 2, 3]


@check
def what_the_policy_does_not_list_is_for_nobody():
    def exchange():
        writer, reader = client.do_exchange(path("t"), bearer(ADMIN))
        with writer:
            writer.done_writing()
            reader.read_chunk()

    unauthorized("the access policy does not allow this request", exchange)


@check
def the_token_is_the_password_at_the_handshake():
    pair = client.authenticate_basic_token("anybody", READER, sending())
    assert pair == (b"authorization", b"Bearer " + READER.encode()), pair
    assert get("t", sending(pair)).num_rows == 3
    unauthorized(NO_WRITE, put, TABLE, numbers(1), sending(pair))


@check
def no_other_password_is_taken():
    def login(password):
        return client.authenticate_basic_token("anybody", password, sending())

    unauthenticated(TOO_OLD, login, EXPIRED)
    unauthenticated("the token is malformed", login, "secret")
    unauthenticated("the Authorization header is malformed", login, "")


@check
def a_password_is_taken_at_the_handshake_alone():
    credentials = base64.b64encode(b"anybody:" + ADMIN.encode())
    for _, call in calls(sending((b"authorization", b"Basic " + credentials))):
        unauthenticated(NO_TOKEN, call)


@check
def middleware_sends_the_token_and_sees_the_challenge():
    seen = {}

    class Middleware(flight.ClientMiddleware):
        def __init__(self, token):
            super().__init__()
            self.token = token

        def sending_headers(self):
            return {"authorization": "Bearer " + self.token}

        def received_headers(self, headers):
            seen.update(headers)

    class Factory(flight.ClientMiddlewareFactory):
        def __init__(self, token):
            super().__init__()
            self.token = token

        def start_call(self, _):
            return Middleware(self.token)

    def total(token):
        with flight.connect(ADDRESS, middleware=[Factory(token)]) as with_middleware:
            return with_middleware.get_flight_info(path("t"), sending()).total_records

    assert total(READER) == 3
    assert "www-authenticate" not in seen, seen
    unauthorized(NO_READ, total, STRANGER)
    (challenge,) = seen["www-authenticate"]
    assert challenge.endswith('scope="read:data"'), challenge


def main():
    # No call waits longer than its timeout; should one all the same, say where.
    faulthandler.dump_traceback_later(300, exit=True)
    print(f"pyarrow {pyarrow.__version__}")
    failed = 0
    for function in checks:
        name = function.__name__.replace("_", " ")
        try:
            function()
        except Exception:
            failed += 1
            print(f"FAILED  {name}", flush=True)
            traceback.print_exc()
        else:
            print(f"ok      {name}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
