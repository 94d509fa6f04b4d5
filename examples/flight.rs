//! A protected Arrow Flight server, configured by the environment alone.
//!
//! ```text
//! AUTH_PROVIDERS=okta OKTA_ORG_DOMAIN=company.okta.com OKTA_AUDIENCE=api://default \
//! ADMIN_GROUPS=DataEngineers cargo run --features tonic,tracing --example flight
//! ```
//!
//! ```python
//! client = pyarrow.flight.connect("grpc://127.0.0.1:50051")
//! options = pyarrow.flight.FlightCallOptions(headers=[(b"authorization", b"Bearer " + token)])
//! client.do_get(pyarrow.flight.Ticket("t"), options).read_all()
//! ```
//!
//! Clients that can only send a user and a password, such as BI tools, take the token for the password
//! and any name for the user; see [`bearer_from_basic`].
//!
//! `LISTEN_ADDR` says where to listen (default `127.0.0.1:50051`), `RUST_LOG` what to log (default
//! `info`). Cleartext HTTP/2 is spoken: in front of other machines it needs TLS.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    env,
    error::Error,
    pin::Pin,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arrow_array::{Int64Array, RecordBatch};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
    decode::FlightRecordBatchStream,
    encode::{DictionaryHandling, FlightDataEncoderBuilder},
    error::FlightError,
    flight_descriptor::DescriptorType,
    flight_service_server::{FlightService, FlightServiceServer},
};
use arrow_schema::SchemaRef;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use portcullis::{
    AccessPolicy, AccessToken, AuthenticateLayer, ConfigError, RejectionKind, Requirement,
    ResourceServer, Role, audit::TracingAudit,
};
use prost::Message as _;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};
use tower::util::MapRequestLayer;
use tracing_subscriber::EnvFilter;

/// What all tables take, and those that are still coming in.
const MAX_BYTES: usize = 64 << 20;
const MAX_TABLES: usize = 1_000;
/// One record batch as it comes in. Clients send large ones; tonic's default is 4 MiB.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let resource_server = ResourceServer::from_env()?;
    let authenticate = AuthenticateLayer::builder(resource_server)
        .audit(TracingAudit::new())
        .build()
        .policy(policy()?);

    let address = env::var("LISTEN_ADDR").unwrap_or_else(|_| "127.0.0.1:50051".to_owned());
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("LISTEN_ADDR is {address:?}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);

    // The service is up whether or not the authorization server is.
    let prefetch = authenticate.clone();
    tokio::spawn(async move { prefetch.prefetch().await });

    let flight = FlightServiceServer::new(Tables::with_an_example()?)
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    Server::builder()
        // A token may be as long as what is read by default in all.
        .http2_max_header_list_size(32 << 10)
        // The first is the outermost.
        .layer(MapRequestLayer::new(bearer_from_basic))
        // Nobody reads or writes longer than their token is good.
        .layer(authenticate.end_streams(Duration::ZERO))
        .add_service(flight)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await?;
    Ok(())
}

/// Who may do what; what is not listed, nobody.
fn policy() -> Result<AccessPolicy, ConfigError> {
    let read = Requirement::all_scopes(["read:data"])?;
    let write = Requirement::all_scopes(["write:data"])?;
    let flight = |method: &str| format!("/arrow.flight.protocol.FlightService/{method}");
    AccessPolicy::builder()
        .require(HANDSHAKE, Requirement::token())
        .require(flight("ListActions"), Requirement::token())
        .require(flight("ListFlights"), read.clone())
        .require(flight("GetFlightInfo"), read.clone())
        .require(flight("GetSchema"), read.clone())
        .require(flight("DoGet"), read)
        .require(flight("DoPut"), write)
        .require(flight("DoAction"), Requirement::role(Role::Admin))
        .build()
}

const HANDSHAKE: &str = "/arrow.flight.protocol.FlightService/Handshake";

/// Flight's clients log in with a user and a password, `Authorization: Basic`, at the handshake, and
/// go on with the bearer token that it answers with. No tokens are issued here: the password is one
/// already, and this layer, outside of the gate, hands it in as such. What it does not understand it
/// leaves as it is, for the gate to refuse.
fn bearer_from_basic<B>(mut request: http::Request<B>) -> http::Request<B> {
    if request.uri().path() == HANDSHAKE
        && let Some(bearer) = password_as_bearer(request.headers())
    {
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    request
}

fn password_as_bearer(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, credentials) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let credentials = BASE64_STANDARD.decode(credentials.trim_start()).ok()?;
    let (_, password) = str::from_utf8(&credentials).ok()?.split_once(':')?;
    let mut bearer = HeaderValue::try_from(format!("Bearer {password}")).ok()?;
    bearer.set_sensitive(true);
    Some(bearer)
}

/// The tables, by name, in memory.
struct Tables {
    tables: Mutex<BTreeMap<String, Table>>,
    /// A permit is a byte.
    room: Arc<Semaphore>,
}

struct Table {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    /// What it takes, given back when it is dropped.
    room: OwnedSemaphorePermit,
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn messages<T: Send + 'static>(messages: Vec<T>) -> Response<Messages<T>> {
    let messages = messages.into_iter().map(Ok);
    Response::new(Box::pin(tokio_stream::iter(messages)))
}

impl Tables {
    fn with_an_example() -> Result<Self, Box<dyn Error>> {
        let this = Self {
            tables: Mutex::default(),
            room: Arc::new(Semaphore::new(MAX_BYTES)),
        };
        let column = Int64Array::from(vec![1, 2, 3]);
        let column = [("a", Arc::new(column) as _, true)];
        let batch = RecordBatch::try_from_iter_with_nullable(column)?;
        let room = this.take_room(batch.get_array_memory_size())?;
        this.put("t", batch.schema(), vec![batch], room)?;
        Ok(this)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Table>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find<T>(&self, name: &str, of: impl FnOnce(&Table) -> T) -> Result<T, Status> {
        self.lock().get(name).map(of).ok_or_else(no_such_table)
    }

    fn take_room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Status> {
        let room = u32::try_from(bytes).ok();
        room.and_then(|bytes| Arc::clone(&self.room).try_acquire_many_owned(bytes).ok())
            .ok_or_else(|| Status::resource_exhausted("there is no room for so much data"))
    }

    /// Makes a table, or adds to it.
    fn put(
        &self,
        name: &str,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        room: OwnedSemaphorePermit,
    ) -> Result<(), Status> {
        let mut tables = self.lock();
        let is_full = tables.len() >= MAX_TABLES;
        match tables.entry(name.to_owned()) {
            Entry::Occupied(mut table) => {
                let table = table.get_mut();
                if table.schema != schema {
                    return Err(Status::failed_precondition("the table has another schema"));
                }
                table.batches.extend(batches);
                table.room.merge(room);
            }
            Entry::Vacant(_) if is_full => {
                return Err(Status::resource_exhausted(
                    "there is no room for more tables",
                ));
            }
            Entry::Vacant(place) => {
                place.insert(Table {
                    schema,
                    batches,
                    room,
                });
            }
        }
        Ok(())
    }
}

impl Table {
    fn info(&self, name: &str) -> Result<FlightInfo, Status> {
        let rows = self.batches.iter().map(RecordBatch::num_rows);
        let rows = rows.fold(0, usize::saturating_add);
        let info = FlightInfo::new()
            .try_with_schema(&self.schema)
            .map_err(FlightError::from)?;
        Ok(info
            .with_descriptor(FlightDescriptor::new_path(vec![name.to_owned()]))
            // Without a location: it is to be had where this was.
            .with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new(name.to_owned())))
            .with_total_records(i64::try_from(rows).unwrap_or(i64::MAX))
            .with_total_bytes(i64::try_from(self.room.num_permits()).unwrap_or(i64::MAX)))
    }
}

fn no_such_table() -> Status {
    Status::not_found("there is no such table")
}

fn table_name(descriptor: &FlightDescriptor) -> Result<&str, Status> {
    match (descriptor.r#type(), &*descriptor.path) {
        (DescriptorType::Path, [name]) => Ok(name),
        _ => Err(Status::invalid_argument(
            "a descriptor is a path of one element, the name of a table",
        )),
    }
}

async fn decode(data: Vec<FlightData>) -> Option<(SchemaRef, Vec<RecordBatch>)> {
    let data = tokio_stream::iter(data.into_iter().map(Ok));
    let mut stream = FlightRecordBatchStream::new_from_flight_data(data);
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await {
        batches.push(batch.ok()?);
    }
    Some((stream.schema()?.clone(), batches))
}

#[tonic::async_trait]
impl FlightService for Tables {
    type HandshakeStream = Messages<HandshakeResponse>;
    type ListFlightsStream = Messages<FlightInfo>;
    type DoGetStream = Messages<FlightData>;
    type DoPutStream = Messages<PutResult>;
    type DoActionStream = Messages<arrow_flight::Result>;
    type ListActionsStream = Messages<ActionType>;
    type DoExchangeStream = Messages<FlightData>;

    /// Answers with the token that it was called with.
    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        // None but the gate puts it there: what is sent back is a token, and was verified.
        AccessToken::from_extensions(request.extensions())?;
        let bearer = request.metadata().get("authorization");
        let mut bearer = bearer.ok_or(RejectionKind::TokenMissing)?.clone();
        bearer.set_sensitive(true);
        let mut response = messages(vec![HandshakeResponse::default()]);
        response.metadata_mut().insert("authorization", bearer);
        Ok(response)
    }

    /// All tables, whatever the criteria.
    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        let tables = self.lock();
        let infos = tables.iter().map(|(name, table)| table.info(name));
        infos.collect::<Result<_, _>>().map(messages)
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let name = table_name(request.get_ref())?;
        let info = self.find(name, |table| table.info(name))??;
        Ok(Response::new(info))
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let name = table_name(request.get_ref())?;
        let FlightInfo { schema, .. } = self.find(name, |table| table.info(name))??;
        Ok(Response::new(SchemaResult { schema }))
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        let name = str::from_utf8(&request.get_ref().ticket).map_err(|_| no_such_table())?;
        let (schema, batches) =
            self.find(name, |table| (table.schema.clone(), table.batches.clone()))?;
        let data = FlightDataEncoderBuilder::new()
            // Also where there are no batches.
            .with_schema(schema)
            // As they came in; written out, they might take far more room.
            .with_dictionary_handling(DictionaryHandling::Resend)
            .build(tokio_stream::iter(batches.into_iter().map(Ok)))
            .map(|data| data.map_err(Status::from));
        Ok(Response::new(Box::pin(data)))
    }

    /// Keeps all of it or nothing: also when the token expires on the way.
    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let mut incoming = request.into_inner();
        let mut room = self.take_room(0)?;
        let mut data = Vec::new();
        while let Some(message) = incoming.message().await? {
            room.merge(self.take_room(size_of::<FlightData>() + message.encoded_len())?);
            data.push(message);
        }
        let descriptor = data.first().and_then(|data| data.flight_descriptor.clone());
        let descriptor = descriptor.unwrap_or_default();
        let name = table_name(&descriptor)?;

        // In a task of its own: arrow panics at some data that is not what it says.
        let decoded = tokio::spawn(decode(data)).await;
        let (schema, batches) = decoded
            .ok()
            .flatten()
            .ok_or_else(|| Status::invalid_argument("this is not a stream of record batches"))?;
        self.put(name, schema, batches, room)?;
        Ok(messages(vec![PutResult::default()]))
    }

    async fn list_actions(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        let action = |name: &str, description: &str| ActionType {
            r#type: name.to_owned(),
            description: description.to_owned(),
        };
        Ok(messages(vec![
            action("echo", "Answers with its body."),
            action("drop", "Drops the table that its body names."),
        ]))
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        let Action { r#type, body } = request.into_inner();
        match &*r#type {
            "echo" => Ok(messages(vec![arrow_flight::Result::new(body)])),
            "drop" => {
                let name = str::from_utf8(&body).map_err(|_| no_such_table())?;
                self.lock().remove(name).ok_or_else(no_such_table)?;
                Ok(messages(vec![]))
            }
            _ => Err(Status::invalid_argument("there is no such action")),
        }
    }

    // The policy lets nobody come as far as these.

    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Err(Status::unimplemented("PollFlightInfo"))
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(Status::unimplemented("DoExchange"))
    }
}
