//! The `flight` example, as a process of its own, by the clients of the crate arrow-flight.
#![cfg(all(feature = "tonic", feature = "test-util", feature = "tracing"))]

use std::{sync::Arc, time::Duration};

use arrow_array::{Int64Array, RecordBatch, StringArray, cast::AsArray, types::Int64Type};
use arrow_flight::{
    Action, Criteria, Empty, FlightClient, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, Ticket, encode::FlightDataEncoderBuilder, error::FlightError,
    flight_service_client::FlightServiceClient,
};
use arrow_schema::{DataType, Schema};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use portcullis::test_util::{Behaviour, TestAuthorizationServer, TestIssuer};
use serde_json::json;
use tokio::process::Command;
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::AsciiMetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

#[path = "support/example.rs"]
mod example;

use example::{Example, in_time};

/// The example, running, and the authorization server that it trusts.
struct World {
    _okta: TestAuthorizationServer,
    issuer: TestIssuer,
    example: Example,
    channel: Channel,
}

impl World {
    async fn new() -> Self {
        Self::with(&[], Behaviour::Normal).await
    }

    async fn with(changes: &[(&str, &str)], behaviour: Behaviour) -> Self {
        let okta = TestAuthorizationServer::start().await;
        let issuer = okta.custom("default");
        issuer.behave(behaviour);
        let example = Example::start("flight", &okta, changes).await;
        let endpoint = Endpoint::from_shared(example.origin.clone()).unwrap();
        let channel = in_time(endpoint.connect()).await.unwrap();
        Self {
            _okta: okta,
            issuer,
            example,
            channel,
        }
    }

    fn reader(&self) -> String {
        self.issuer.mint(json!({ "scp": ["read:data"] }))
    }

    fn writer(&self) -> String {
        self.issuer.mint(json!({ "scp": ["write:data"] }))
    }

    fn admin(&self) -> String {
        self.issuer.mint(json!({ "groups": ["DataEngineers"] }))
    }

    fn stranger(&self) -> String {
        self.issuer.mint(json!({ "scp": null }))
    }

    fn expired(&self) -> String {
        let everything = json!({
            "scp": ["read:data", "write:data"], "groups": ["DataEngineers"], "iat": 1_000, "exp": 2_000,
        });
        self.issuer.mint(everything)
    }

    /// A client that sends these `Authorization` headers, and shows those of responses.
    fn raw(&self, authorization: &[&str]) -> FlightServiceClient<Authorized> {
        let values = authorization.iter().map(|value| value.parse().unwrap());
        FlightServiceClient::with_interceptor(self.channel.clone(), Authorization(values.collect()))
    }

    fn client(&self, token: &str) -> FlightClient<Authorized> {
        FlightClient::new_from_inner(self.raw(&[&format!("Bearer {token}")]))
    }

    /// The tables, with the number of their rows.
    async fn list(&self, token: &str) -> Result<Vec<(String, i64)>, Status> {
        let named = |info: FlightInfo| {
            let path = info.flight_descriptor.unwrap().path;
            (path.concat(), info.total_records)
        };
        in_time(async {
            let infos = self.client(token).list_flights("").await?;
            let infos: Vec<_> = infos.collect::<Result<_, _>>().await?;
            Ok(infos.into_iter().map(named).collect())
        })
        .await
        .map_err(status)
    }

    /// What is in the only column of a table.
    async fn get(&self, token: &str, table: &str) -> Result<Vec<i64>, Status> {
        in_time(async {
            let mut client = self.client(token);
            let batches = client.do_get(Ticket::new(table.to_owned())).await?;
            let batches: Vec<_> = batches.collect::<Result<_, _>>().await?;
            let columns = batches
                .iter()
                .map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
            Ok(columns.flat_map(|values| values.iter().copied()).collect())
        })
        .await
        .map_err(status)
    }

    /// Writes to a table, and says how many results came back.
    async fn put(
        &self,
        token: &str,
        table: &str,
        batches: Vec<RecordBatch>,
    ) -> Result<usize, Status> {
        let data = encoded(path(table), batches);
        self.put_data(token, data).await
    }

    async fn put_data(
        &self,
        token: &str,
        data: impl Stream<Item = Result<FlightData, FlightError>> + Send + 'static,
    ) -> Result<usize, Status> {
        in_time(async {
            let results = self.client(token).do_put(data).await?;
            let results: Vec<_> = results.collect::<Result<_, _>>().await?;
            Ok(results.len())
        })
        .await
        .map_err(status)
    }

    async fn act(&self, token: &str, action: &str, body: &str) -> Result<Vec<String>, Status> {
        in_time(async {
            let action = Action::new(action, body.to_owned());
            let results = self.client(token).do_action(action).await?;
            let results: Vec<_> = results.collect::<Result<_, _>>().await?;
            let texts = results.into_iter().map(|result| result.to_vec());
            Ok(texts.map(|text| String::from_utf8(text).unwrap()).collect())
        })
        .await
        .map_err(status)
    }

    /// Logs in; comes back with the `Authorization` headers of the response.
    async fn handshake(&self, authorization: &[&str]) -> Result<Vec<String>, Status> {
        in_time(async {
            let requests = tokio_stream::once(HandshakeRequest::default());
            let response = self.raw(authorization).handshake(requests).await?;
            let headers = response.metadata().get_all("authorization").iter();
            let headers = headers.map(|value| value.to_str().unwrap().to_owned());
            let headers = headers.collect();
            let responses = count(response).await?;
            assert!(
                responses <= 1,
                "FlightSqlServiceClient takes no more: {responses}"
            );
            Ok(headers)
        })
        .await
    }
}

type Authorized = InterceptedService<Channel, Authorization>;

#[derive(Clone)]
struct Authorization(Vec<AsciiMetadataValue>);

impl Interceptor for Authorization {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for value in &self.0 {
            request
                .metadata_mut()
                .append("authorization", value.clone());
        }
        Ok(request)
    }
}

fn status(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => panic!("{other:?}"),
    }
}

async fn count<T>(response: Response<Streaming<T>>) -> Result<usize, Status> {
    let messages: Vec<_> = response.into_inner().collect::<Result<_, _>>().await?;
    Ok(messages.len())
}

fn numbers(numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
    let column = Arc::new(Int64Array::from_iter_values(numbers));
    RecordBatch::try_from_iter([("a", column as _)]).unwrap()
}

/// A batch of one MiB.
fn mebibyte() -> RecordBatch {
    numbers(0..128 << 10)
}

fn path(table: &str) -> FlightDescriptor {
    FlightDescriptor::new_path(vec![table.to_owned()])
}

fn encoded(
    descriptor: FlightDescriptor,
    batches: Vec<RecordBatch>,
) -> impl Stream<Item = Result<FlightData, FlightError>> + Send + 'static {
    FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(descriptor))
        .with_schema(batches[0].schema())
        .build(tokio_stream::iter(batches.into_iter().map(Ok)))
}

fn basic(user: &str, password: &str) -> String {
    let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {credentials}")
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, message: &str) {
    let status = result.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, message));
}

#[tokio::test]
async fn readers_see_what_there_is_and_read_it() {
    let world = World::new().await;
    let reader = world.reader();
    let mut client = world.client(&reader);

    let flights = client.list_flights("").await.unwrap();
    let flights: Vec<_> = flights.collect::<Result<_, _>>().await.unwrap();
    let info = client.get_flight_info(path("t")).await.unwrap();
    assert_eq!(flights, std::slice::from_ref(&info));

    assert_eq!(info.flight_descriptor, Some(path("t")));
    assert_eq!(info.total_records, 3);
    assert!(info.total_bytes >= 24, "{}", info.total_bytes);
    let [endpoint] = &*info.endpoint else {
        panic!("one endpoint: {:?}", info.endpoint);
    };
    assert_eq!(endpoint.ticket, Some(Ticket::new("t")));
    assert!(endpoint.location.is_empty(), "on the same connection");

    let schema = client.get_schema(path("t")).await.unwrap();
    let [a] = &**schema.fields() else {
        panic!("one column: {schema:?}");
    };
    assert_eq!((&**a.name(), a.data_type()), ("a", &DataType::Int64));
    assert_eq!(Schema::try_from(info).unwrap(), schema);
    assert_eq!(world.get(&reader, "t").await.unwrap(), [1, 2, 3]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = World::new().await;
    let reader = world.reader();
    let mut client = world.client(&reader);
    let not_found = |error| {
        refused(
            Err::<(), _>(error),
            Code::NotFound,
            "there is no such table",
        )
    };

    not_found(world.get(&reader, "u").await.unwrap_err());
    not_found(status(client.get_flight_info(path("u")).await.unwrap_err()));
    not_found(status(client.get_schema(path("u")).await.unwrap_err()));
    let not_utf8 = client.do_get(Ticket::new(vec![0xff])).await;
    not_found(status(not_utf8.map(|_| ()).unwrap_err()));

    for descriptor in [
        FlightDescriptor::default(),
        FlightDescriptor::new_cmd("t"),
        FlightDescriptor::new_path(vec![]),
        FlightDescriptor::new_path(vec!["t".to_owned(), "t".to_owned()]),
    ] {
        let answer = client.get_flight_info(descriptor.clone()).await;
        let code = status(answer.unwrap_err()).code();
        assert_eq!(code, Code::InvalidArgument, "{descriptor:?}");
    }
}

#[tokio::test]
async fn what_was_written_is_read() {
    let world = World::new().await;
    let (reader, writer) = (world.reader(), world.writer());

    let results = world.put(&writer, "u", vec![numbers(4..6), numbers(6..7)]);
    assert_eq!(results.await.unwrap(), 1);
    assert_eq!(world.get(&reader, "u").await.unwrap(), [4, 5, 6]);

    let results = world.put(&writer, "u", vec![numbers(7..9)]);
    assert_eq!(results.await.unwrap(), 1);
    assert_eq!(world.get(&reader, "u").await.unwrap(), [4, 5, 6, 7, 8]);

    let listed = world.list(&reader).await.unwrap();
    assert_eq!(listed, [("t".to_owned(), 3), ("u".to_owned(), 5)]);

    // A table may be empty, and has a schema still.
    world.put(&writer, "v", vec![numbers([])]).await.unwrap();
    assert!(world.get(&reader, "v").await.unwrap().is_empty());
    let schema = world.client(&reader).get_schema(path("v")).await.unwrap();
    assert_eq!(schema, *numbers([]).schema());
}

#[tokio::test]
async fn what_cannot_be_kept_changes_nothing() {
    let world = World::new().await;
    let (reader, writer) = (world.reader(), world.writer());

    let column = Arc::new(StringArray::from(vec!["x"]));
    let texts = RecordBatch::try_from_iter([("a", column as _)]).unwrap();
    let answer = world.put(&writer, "t", vec![texts]).await;
    refused(
        answer,
        Code::FailedPrecondition,
        "the table has another schema",
    );

    let garbage = FlightData::new()
        .with_descriptor(path("t"))
        .with_data_header(&b"\xff\xff\xff\xff"[..])
        .with_data_body(&b"\xff\xff\xff\xff"[..]);
    let cut_short: Vec<_> = encoded(path("t"), vec![numbers(4..6)]).collect().await;
    let cut_short = cut_short.into_iter().map(|data| {
        let mut data = data.unwrap();
        data.data_body.truncate(8);
        data
    });
    for data in [vec![garbage], cut_short.collect()] {
        let answer = world.put_data(&writer, tokio_stream::iter(data).map(Ok));
        let expected = "this is not a stream of record batches";
        refused(answer.await, Code::InvalidArgument, expected);
    }

    let nameless = encoded(FlightDescriptor::new_cmd("t"), vec![numbers(4..6)]);
    let nothing = tokio_stream::empty();
    let expected = "a descriptor is a path of one element, the name of a table";
    let answer = world.put_data(&writer, nameless).await;
    refused(answer, Code::InvalidArgument, expected);
    let answer = world.put_data(&writer, nothing).await;
    refused(answer, Code::InvalidArgument, expected);

    assert_eq!(world.list(&reader).await.unwrap(), [("t".to_owned(), 3)]);
    assert_eq!(world.get(&reader, "t").await.unwrap(), [1, 2, 3]);
}

#[tokio::test]
async fn room_is_bounded_and_given_back() {
    let world = World::new().await;
    let (reader, writer, admin) = (world.reader(), world.writer(), world.admin());
    let expected = "there is no room for so much data";

    world.put(&writer, "u", vec![mebibyte(); 40]).await.unwrap();
    for table in ["u", "v"] {
        let answer = world.put(&writer, table, vec![mebibyte(); 40]).await;
        refused(answer, Code::ResourceExhausted, expected);
    }
    let listed = world.list(&reader).await.unwrap();
    assert_eq!(
        listed,
        [("t".to_owned(), 3), ("u".to_owned(), 40 * (128 << 10))]
    );

    // What was refused takes no room, nor does what was dropped.
    world.put(&writer, "v", vec![mebibyte(); 20]).await.unwrap();
    world.act(&admin, "drop", "u").await.unwrap();
    world.put(&writer, "v", vec![mebibyte(); 40]).await.unwrap();
    world.act(&admin, "drop", "v").await.unwrap();
    world.put(&writer, "v", vec![mebibyte(); 60]).await.unwrap();

    // `t` and `v` are there.
    for n in 2..1_000 {
        let table = n.to_string();
        world
            .put(&writer, &table, vec![numbers([n])])
            .await
            .unwrap();
    }
    let answer = world.put(&writer, "w", vec![numbers([0])]).await;
    refused(
        answer,
        Code::ResourceExhausted,
        "there is no room for more tables",
    );
    world.put(&writer, "999", vec![numbers([0])]).await.unwrap();
    assert_eq!(world.get(&reader, "999").await.unwrap(), [999, 0]);
}

#[tokio::test]
async fn a_put_whose_token_expires_on_the_way_ends_and_leaves_nothing() {
    let world = World::with(&[("CLOCK_LEEWAY", "0")], Behaviour::Normal).await;
    let now = world.issuer.claims(json!({}))["iat"].as_u64().unwrap();
    let brief = json!({ "scp": ["write:data"], "exp": now + 3 });
    let brief = format!("Bearer {}", world.issuer.mint(brief));

    let data = encoded(path("u"), vec![numbers(4..6)]).map(Result::unwrap);
    let endless = data.chain(tokio_stream::pending());
    let answer = in_time(world.raw(&[&brief]).do_put(endless)).await;
    refused(answer, Code::Unauthenticated, "the token has expired");

    let listed = world.list(&world.reader()).await.unwrap();
    assert_eq!(listed, [("t".to_owned(), 3)]);
}

/// Calls a method, as little as it can be called with.
async fn call(client: &mut FlightServiceClient<Authorized>, method: &str) -> Result<usize, Status> {
    match method {
        "Handshake" => {
            let requests = tokio_stream::once(HandshakeRequest::default());
            count(client.handshake(requests).await?).await
        }
        "ListFlights" => count(client.list_flights(Criteria::default()).await?).await,
        "GetFlightInfo" => client.get_flight_info(path("t")).await.map(|_| 1),
        "PollFlightInfo" => client.poll_flight_info(path("t")).await.map(|_| 1),
        "GetSchema" => client.get_schema(path("t")).await.map(|_| 1),
        "DoGet" => count(client.do_get(Ticket::new("t")).await?).await,
        "DoPut" => {
            let data = encoded(path("u"), vec![numbers([])]).map(Result::unwrap);
            count(client.do_put(data).await?).await
        }
        "DoExchange" => {
            let data = encoded(path("u"), vec![numbers([])]).map(Result::unwrap);
            count(client.do_exchange(data).await?).await
        }
        "DoAction" => count(client.do_action(Action::new("echo", "")).await?).await,
        "ListActions" => count(client.list_actions(Empty {}).await?).await,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn each_method_asks_for_its_own() {
    const NO_READ: &str = "the token lacks a scope that is needed here: read:data";
    const NO_WRITE: &str = "the token lacks a scope that is needed here: write:data";
    const NO_ADMIN: &str = "the token's role is not sufficient here: admin is needed";
    const NOBODY: &str = "the access policy does not allow this request";
    const OK: &str = "";
    let world = World::new().await;
    let all = world.issuer.mint(json!({
        "scp": ["read:data", "write:data"], "groups": ["DataEngineers"],
    }));
    let (reader, writer) = (world.reader(), world.writer());
    let (admin, stranger) = (world.admin(), world.stranger());

    #[rustfmt::skip]
    let rows = [
        //                   all     reader    writer    admin    stranger
        ("Handshake",       [OK,     OK,       OK,       OK,      OK]),
        ("ListActions",     [OK,     OK,       OK,       OK,      OK]),
        ("ListFlights",     [OK,     OK,       NO_READ,  NO_READ, NO_READ]),
        ("GetFlightInfo",   [OK,     OK,       NO_READ,  NO_READ, NO_READ]),
        ("GetSchema",       [OK,     OK,       NO_READ,  NO_READ, NO_READ]),
        ("DoGet",           [OK,     OK,       NO_READ,  NO_READ, NO_READ]),
        ("DoPut",           [OK,     NO_WRITE, OK,       NO_WRITE, NO_WRITE]),
        ("DoAction",        [OK,     NO_ADMIN, NO_ADMIN, OK,      NO_ADMIN]),
        ("PollFlightInfo",  [NOBODY, NOBODY,   NOBODY,   NOBODY,  NOBODY]),
        ("DoExchange",      [NOBODY, NOBODY,   NOBODY,   NOBODY,  NOBODY]),
    ];
    for (method, expected) in rows {
        let tokens = [&all, &reader, &writer, &admin, &stranger];
        for (token, expected) in tokens.into_iter().zip(expected) {
            let mut client = world.raw(&[&format!("Bearer {token}")]);
            match in_time(call(&mut client, method)).await {
                Ok(messages) => assert!(expected == OK && messages > 0, "{method}: {expected}"),
                error => refused(error, Code::PermissionDenied, expected),
            }
        }
        let expired = format!("Bearer {}", world.expired());
        for (authorization, expected) in [
            (vec![], "a bearer token is needed"),
            (vec![&*expired], "the token has expired"),
            (vec!["Bearer abc"], "the token is malformed"),
        ] {
            let answer = in_time(call(&mut world.raw(&authorization), method)).await;
            refused(answer, Code::Unauthenticated, expected);
        }
    }
}

#[tokio::test]
async fn admins_act() {
    let world = World::new().await;
    let (reader, admin) = (world.reader(), world.admin());

    assert_eq!(world.act(&admin, "echo", "x").await.unwrap(), ["x"]);
    let answer = world.act(&reader, "drop", "t").await;
    let expected = "the token's role is not sufficient here: admin is needed";
    refused(answer, Code::PermissionDenied, expected);
    assert_eq!(world.get(&reader, "t").await.unwrap(), [1, 2, 3]);

    assert!(world.act(&admin, "drop", "t").await.unwrap().is_empty());
    assert!(world.list(&reader).await.unwrap().is_empty());
    let answer = world.act(&admin, "drop", "t").await;
    refused(answer, Code::NotFound, "there is no such table");
    let answer = world.act(&admin, "shutdown", "").await;
    refused(answer, Code::InvalidArgument, "there is no such action");

    // Whoever has a token may see which there are.
    let mut client = world.client(&world.stranger());
    let actions = client.list_actions().await.unwrap();
    let actions: Vec<_> = actions.map(|action| action.unwrap().r#type).collect().await;
    assert_eq!(actions, ["echo", "drop"]);
}

#[tokio::test]
async fn a_handshake_takes_the_token_as_the_password() {
    let world = World::new().await;
    let reader = world.reader();
    let bearer = format!("Bearer {reader}");

    for authorization in [
        basic("joe", &reader),
        basic("", &reader),
        basic("jöe", &reader),
        basic("joe", &reader).replace("Basic ", "bAsIc  "),
        bearer.clone(),
    ] {
        let headers = world.handshake(&[&authorization]).await.unwrap();
        assert_eq!(headers, [&*bearer], "{authorization}");
    }
    assert_eq!(world.get(&reader, "t").await.unwrap(), [1, 2, 3]);

    // The other client of the crate insists on one response.
    let payload = in_time(world.client(&reader).handshake("")).await.unwrap();
    assert_eq!(payload, "");
}

#[tokio::test]
async fn a_handshake_verifies_the_token() {
    let world = World::new().await;
    let reader = world.reader();
    let (head, signature) = reader.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.replace(['a', 'b'], "c"));
    let good = basic("joe", &reader);

    const NONE: &str = "a bearer token is needed";
    const MALFORMED: &str = "the Authorization header is malformed";
    for (authorization, expected) in [
        (
            vec![basic("joe", &world.expired())],
            "the token has expired",
        ),
        (
            vec![basic("joe", &forged)],
            "the token's signature is not valid",
        ),
        (vec![basic("joe", "secret")], "the token is malformed"),
        (vec![basic("joe", "")], MALFORMED),
        (vec![basic("joe", &format!("{reader}, Basic x"))], MALFORMED),
        (vec![basic("joe", &format!("{reader} x"))], MALFORMED),
        // As they came.
        (vec![basic("joe", &format!("{reader}\r\nx: y"))], NONE),
        (
            vec![format!("Basic {}", BASE64_STANDARD.encode(&reader))],
            NONE,
        ),
        (
            vec![format!("Basic {}", BASE64_STANDARD.encode(b"\xff:\xff"))],
            NONE,
        ),
        (vec![format!("Basic {reader}")], NONE),
        (vec!["Basic".to_owned()], NONE),
        (vec![good.replace("Basic", "Digest")], NONE),
        (vec![good.clone(), good.clone()], MALFORMED),
        (vec![good.clone(), format!("Bearer {reader}")], MALFORMED),
        (vec![format!("Bearer {reader}"), good.clone()], MALFORMED),
    ] {
        let values: Vec<_> = authorization.iter().map(|value| &**value).collect();
        let answer = world.handshake(&values).await;
        refused(answer, Code::Unauthenticated, expected);
    }
}

#[tokio::test]
async fn basic_is_for_the_handshake_alone() {
    let world = World::new().await;
    let all = world.issuer.mint(json!({
        "scp": ["read:data", "write:data"], "groups": ["DataEngineers"],
    }));
    let mut client = world.raw(&[&basic("joe", &all)]);
    for method in [
        "ListFlights",
        "GetFlightInfo",
        "PollFlightInfo",
        "GetSchema",
        "DoGet",
        "DoPut",
        "DoExchange",
        "DoAction",
        "ListActions",
    ] {
        let answer = in_time(call(&mut client, method)).await;
        refused(answer, Code::Unauthenticated, "a bearer token is needed");
    }
}

#[tokio::test]
async fn it_starts_without_the_authorization_server() {
    let world = World::with(&[], Behaviour::Down).await;
    let answer = world.get(&world.reader(), "t").await;
    refused(
        answer,
        Code::Unavailable,
        "tokens cannot be verified at the moment",
    );
    let answer = in_time(call(&mut world.raw(&[]), "DoGet")).await;
    refused(answer, Code::Unauthenticated, "a bearer token is needed");
}

/// The same, by another client. Needs its packages (tests/python/requirements.txt):
/// `PYTHON=venv/bin/python cargo test --all-features --test flight -- --ignored`.
#[tokio::test]
#[ignore = "needs Python with pyarrow; .ci/run provides it"]
async fn pyarrow_lists_reads_and_writes() {
    let world = World::new().await;
    let everything = json!({ "scp": ["read:data", "write:data"], "groups": ["DataEngineers"] });
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut python = Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/python/flight_test.py"
        ))
        .env("FLIGHT_ADDRESS", world.example.address())
        .env("TOKEN_ADMIN", world.issuer.mint(everything))
        .env("TOKEN_READER", world.reader())
        .env("TOKEN_STRANGER", world.stranger())
        .env("TOKEN_EXPIRED", world.expired())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(300), python.wait()).await;
    assert!(ended.expect("it hangs").unwrap().success());
}
