//! What is open ends with the token that let it in, and nothing else does.
#![cfg(all(
    feature = "tonic",
    feature = "axum",
    feature = "introspection",
    feature = "test-util"
))]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    response::sse::{Event, Sse},
    routing::{get, post},
};
use base64::Engine as _;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Request, Response, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use portcullis::{Rejection, middleware::GuardedBody};
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;
use tower::{Layer, ServiceExt, service_fn};

#[path = "../examples/tonic/echo.rs"]
mod echo;
#[path = "support/example.rs"]
mod example;
#[path = "support/grpc.rs"]
mod grpc;
#[path = "../examples/tonic/service.rs"]
mod service;
mod support;

use echo::{EchoRequest, EchoResponse};
use example::in_time;
use grpc::{client, saying, with_token};
use support::{World, http_client};

/// An hour, and the leeway of a minute.
const LIFE: Duration = Duration::from_secs(3_660);
const SECOND: Duration = Duration::from_secs(1);

/// An open call in both directions.
struct Talk {
    requests: mpsc::UnboundedSender<EchoRequest>,
    answers: Streaming<EchoResponse>,
}

impl Talk {
    async fn open(address: SocketAddr, token: &str) -> Self {
        let (requests, messages) = mpsc::unbounded_channel();
        let messages = UnboundedReceiverStream::new(messages);
        let mut client = client(address).await;
        let request = with_token(token, messages);
        let answers = client.bidirectional_streaming_echo(request).await.unwrap();
        Self {
            requests,
            answers: answers.into_inner(),
        }
    }

    async fn say(&mut self, text: &str) -> Result<String, Status> {
        // A call that has ended takes no messages.
        let _ = self.requests.send(saying(text));
        self.hear().await
    }

    async fn hear(&mut self) -> Result<String, Status> {
        let answer = in_time(self.answers.next()).await.expect("an answer");
        answer.map(|EchoResponse { message }| message)
    }
}

fn admin(world: &World) -> String {
    world
        .issuer
        .mint(json!({ "groups": ["admins"], "sub": "ada" }))
}

fn assert_ended(status: &Status, reason: &str, message: &str) {
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    assert_eq!(status.message(), message);
    assert_eq!(status.get_details_error_info().unwrap().reason, reason);
    let challenge = status.metadata().get("www-authenticate").unwrap();
    assert!(
        challenge.to_str().unwrap().contains(message),
        "{challenge:?}"
    );
}

fn assert_expired(status: &Status) {
    assert_ended(status, "TOKEN_EXPIRED", "the token has expired");
}

#[tokio::test]
async fn a_call_in_both_directions_ends_when_its_token_expires() {
    let world = World::new().await;
    let address = grpc::serve(world.layer.clone().end_streams(Duration::ZERO));
    let mut talk = Talk::open(address, &admin(&world)).await;
    world.clock.advance(LIFE - SECOND);
    assert_eq!(talk.say("one").await.unwrap(), "one", "a second before");
    world.clock.advance(SECOND);
    // Nobody says anything: it ends all the same.
    assert_expired(&talk.hear().await.unwrap_err());
    let events = world.log.with_prefix("decision");
    let last = "TOKEN_EXPIRED subject=ada issuer=default step=claims waited=false";
    assert!(events.len() == 2 && events[1].ends_with(last), "{events:?}");
}

#[tokio::test]
async fn data_that_comes_after_the_end_is_not_passed_on() {
    let world = World::new().await;
    let address = grpc::serve(world.layer.clone().end_streams(Duration::ZERO));
    let mut talk = Talk::open(address, &admin(&world)).await;
    world.clock.advance(LIFE);
    assert_expired(&talk.say("late").await.unwrap_err());
}

#[tokio::test]
async fn calls_in_one_direction_end_too() {
    let world = World::new().await;
    let address = grpc::serve(world.layer.clone().end_streams(Duration::ZERO));
    let token = admin(&world);
    let mut client = client(address).await;
    let answers = client
        .server_streaming_echo(with_token(&token, saying("x")))
        .await;
    let mut answers = answers.unwrap().into_inner();
    assert!(in_time(answers.next()).await.unwrap().is_ok());

    let (requests, messages) = mpsc::unbounded_channel();
    let messages = UnboundedReceiverStream::new(messages);
    requests.send(saying("half")).unwrap();
    let answer = tokio::spawn(async move {
        let request = with_token(&token, messages);
        client.client_streaming_echo(request).await
    });
    while world.log.with_prefix("decision").len() < 2 {
        tokio::task::yield_now().await;
    }
    world.clock.advance(LIFE);
    let status = loop {
        // What was under way may still come in between.
        if let Err(status) = in_time(answers.next()).await.unwrap() {
            break status;
        }
    };
    assert_expired(&status);
    assert_expired(&in_time(answer).await.unwrap().unwrap_err());
}

#[tokio::test]
async fn grace_is_added() {
    let world = World::new().await;
    let address = grpc::serve(world.layer.clone().end_streams(Duration::from_secs(30)));
    let mut talk = Talk::open(address, &admin(&world)).await;
    world.clock.advance(LIFE + Duration::from_secs(29));
    assert_eq!(talk.say("one").await.unwrap(), "one");
    world.clock.advance(SECOND);
    assert_expired(&talk.hear().await.unwrap_err());
}

#[tokio::test]
async fn without_the_option_nothing_is_ended() {
    let world = World::new().await;
    let address = grpc::serve(world.layer.clone());
    let mut talk = Talk::open(address, &admin(&world)).await;
    world.clock.advance(10 * LIFE);
    assert_eq!(talk.say("still").await.unwrap(), "still");
}

#[tokio::test]
async fn a_call_ends_when_its_key_is_removed_and_others_go_on() {
    let world = World::with(|policy| policy.ttl_cap(Duration::from_secs(600))).await;
    let address = grpc::serve(world.layer.clone().end_streams(Duration::ZERO));
    let old = world.issuer.key();
    let old_token = admin(&world);
    world.issuer.rotate();
    let new_token = admin(&world);
    let mut ends = Talk::open(address, &old_token).await;
    let mut stays = Talk::open(address, &new_token).await;
    world.until_fetched(Duration::from_secs(600)).await;
    assert_eq!(
        ends.say("one").await.unwrap(),
        "one",
        "fetched, and not removed"
    );
    world.issuer.remove(old.kid());
    world.until_fetched(Duration::from_secs(600)).await;
    assert_ended(
        &ends.hear().await.unwrap_err(),
        "KEY_UNKNOWN",
        "the token's signing key is not known",
    );
    assert_eq!(stays.say("two").await.unwrap(), "two");
}

/// An authorization server that withdraws everything is the case that it is for.
#[tokio::test]
async fn calls_end_when_all_keys_are_withdrawn() {
    let world = World::with(|policy| policy.ttl_cap(Duration::from_secs(600))).await;
    let address = grpc::serve(world.layer.clone().end_streams(Duration::ZERO));
    let mut talk = Talk::open(address, &admin(&world)).await;
    world.issuer.publish_only([]);
    world.until_fetched(Duration::from_secs(600)).await;
    assert_eq!(
        talk.say("one").await.unwrap(),
        "one",
        "an empty set is looked at twice"
    );
    world.until_fetched(Duration::from_secs(60)).await;
    assert_ended(
        &talk.hear().await.unwrap_err(),
        "KEY_UNKNOWN",
        "the token's signing key is not known",
    );
}

/// A token that does not name its key would be ambiguous by now, but its key is still published.
#[tokio::test]
async fn a_key_that_is_added_ends_nothing() {
    let world = World::with(|policy| policy.ttl_cap(Duration::from_secs(600))).await;
    let address = grpc::serve(world.layer.clone().end_streams(Duration::ZERO));
    let claims = world.issuer.claims(json!({ "groups": ["admins"] }));
    let key = world.issuer.key();
    let nameless = key.sign_with_header(&json!({ "alg": "RS256" }), &claims);
    let mut talk = Talk::open(address, &nameless).await;
    world.issuer.rotate();
    world.until_fetched(Duration::from_secs(600)).await;
    assert_eq!(talk.say("one").await.unwrap(), "one");
    world.issuer.remove(key.kid());
    world.until_fetched(Duration::from_secs(600)).await;
    assert_eq!(talk.hear().await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_clock_that_is_set_forward_is_noticed_within_a_minute() {
    let world = World::new().await;
    let address = grpc::serve(world.layer.clone().end_streams(Duration::ZERO));
    let mut talk = Talk::open(address, &admin(&world)).await;
    assert_eq!(talk.say("one").await.unwrap(), "one");
    let now = world.clock.now().as_secs();
    world
        .clock
        .set_wall(portcullis::UnixTime::from_secs(now + LIFE.as_secs()));
    world.clock.advance(Duration::from_secs(60));
    assert_expired(&talk.hear().await.unwrap_err());
}

/// An axum router over a real socket.
async fn serve_http(app: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[tokio::test]
async fn server_sent_events_and_downloads_are_aborted() {
    let world = World::new().await;
    let events = || {
        let first = futures_util::stream::iter([Ok::<_, Infallible>(Event::default().data("one"))]);
        Sse::new(first.chain(futures_util::stream::pending()))
    };
    let download = || {
        let first = futures_util::stream::iter([Ok::<_, Infallible>("half of it")]);
        Body::from_stream(first.chain(futures_util::stream::pending()))
    };
    let app = Router::new()
        .route("/events", get(async move || events()))
        .route("/download", get(async move || download()))
        .layer(world.layer.clone().end_streams(Duration::ZERO));
    let address = serve_http(app).await;
    let token = admin(&world);
    let mut open = Vec::new();
    for path in ["events", "download"] {
        let request = http_client().get(format!("http://{address}/{path}"));
        let mut response = request.bearer_auth(&token).send().await.unwrap();
        assert!(response.chunk().await.unwrap().is_some());
        open.push(response);
    }
    world.clock.advance(LIFE);
    for mut response in open {
        // An end like any other would pass half a download for a whole one.
        assert!(in_time(response.chunk()).await.is_err());
    }
}

#[tokio::test]
async fn a_request_that_is_still_coming_in_is_answered_as_expired() {
    let world = World::new().await;
    let app = Router::new()
        // A handler that makes the best of what came.
        .route(
            "/",
            post(async |body: Body| match body.collect().await {
                Ok(_) => "whole",
                Err(_) => "half",
            }),
        )
        .layer(world.layer.clone().end_streams(Duration::ZERO));
    let address = serve_http(app).await;
    let (pieces, body) = mpsc::unbounded_channel();
    let half = Frame::data(Bytes::from_static(b"half of it"));
    pieces.send(Ok::<_, Infallible>(half)).unwrap();
    let body = reqwest::Body::wrap(StreamBody::new(UnboundedReceiverStream::new(body)));
    let request = http_client()
        .post(format!("http://{address}/"))
        .bearer_auth(admin(&world));
    let answer = tokio::spawn(request.body(body).send());
    while world.log.with_prefix("decision").is_empty() {
        tokio::task::yield_now().await;
    }
    world.clock.advance(LIFE);
    let answer = in_time(answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 401);
    assert!(
        answer.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .contains("invalid_token")
    );
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["code"], "TOKEN_EXPIRED");
}

/// It came in whole while its token was good, and may have been carried out: to answer 401 would
/// be to ask for it once more.
#[tokio::test]
async fn a_request_that_came_in_whole_is_answered_however_long_it_takes() {
    let world = World::new().await;
    let go_on = Arc::new(Notify::new());
    let wait = Arc::clone(&go_on);
    let app = Router::new()
        .route(
            "/",
            post(async move |body: String| {
                wait.notified().await;
                body
            }),
        )
        .layer(world.layer.clone().end_streams(Duration::ZERO));
    let address = serve_http(app).await;
    let request = http_client()
        .post(format!("http://{address}/"))
        .bearer_auth(admin(&world));
    let answer = tokio::spawn(request.body("all of it").send());
    while world.log.with_prefix("decision").is_empty() {
        tokio::task::yield_now().await;
    }
    world.clock.advance(LIFE);
    go_on.notify_one();
    let answer = in_time(answer).await.unwrap().unwrap();
    assert_eq!(answer.text().await.unwrap(), "all of it");
}

/// The body of a response whose handler sends what the test sends.
struct Answer {
    frames: mpsc::UnboundedSender<Frame<Bytes>>,
    body: GuardedBody<Body>,
}

impl Answer {
    async fn begin(world: &World, content_type: &'static str) -> Self {
        let (frames, sent) = mpsc::unbounded_channel();
        let sent = Arc::new(Mutex::new(Some(UnboundedReceiverStream::new(sent))));
        let handler = service_fn(move |_: Request<GuardedBody<Body>>| {
            let sent = sent.lock().unwrap().take().unwrap();
            let body = Body::new(StreamBody::new(sent.map(Ok::<_, Infallible>)));
            let response = Response::builder().header(CONTENT_TYPE, content_type);
            std::future::ready(Ok::<_, Infallible>(response.body(body).unwrap()))
        });
        let layer = world.layer.clone().end_streams(Duration::ZERO);
        let request = posted(world, Body::empty());
        let response = layer.layer(handler).oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body();
        Self { frames, body }
    }

    fn send(&self, data: &'static [u8]) {
        self.frames
            .send(Frame::data(Bytes::from_static(data)))
            .unwrap();
    }

    async fn data(&mut self) -> Bytes {
        self.next().await.unwrap().unwrap().into_data().unwrap()
    }

    /// What ends a gRPC call.
    async fn end(&mut self) -> HeaderMap {
        self.next().await.unwrap().unwrap().into_trailers().unwrap()
    }

    /// Whether there is nothing to come at the moment.
    async fn is_waiting(&mut self) -> bool {
        let mut body = std::pin::pin!(self.body.frame());
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(body.as_mut().poll(cx)));
        polled.await.is_pending()
    }

    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        in_time(self.body.frame()).await
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn trailers() -> Frame<Bytes> {
    let status = [("grpc-status".parse().unwrap(), "0".parse().unwrap())];
    Frame::trailers(HeaderMap::from_iter(status))
}

fn posted(world: &World, body: Body) -> Request<Body> {
    let request = Request::post("/").header("authorization", format!("Bearer {}", admin(world)));
    request.body(body).unwrap()
}

#[tokio::test]
async fn an_answer_whose_data_comes_late_has_one_piece_of_it() {
    let world = World::new().await;
    let mut unary = Answer::begin(&world, "application/grpc").await;
    world.clock.advance(LIFE);
    unary.send(b"");
    unary.send(b"message");
    assert_eq!(unary.data().await, "");
    assert_eq!(unary.data().await, "message");
    unary.frames.send(trailers()).unwrap();
    assert_eq!(unary.end().await["grpc-status"], "0");

    let world = World::new().await;
    let mut stream = Answer::begin(&world, "application/grpc").await;
    world.clock.advance(LIFE);
    stream.send(b"one");
    stream.send(b"two");
    assert_eq!(stream.data().await, "one");
    assert_eq!(stream.end().await["grpc-status"], "16");
    assert!(stream.next().await.is_none());
    // Its handler is told that nobody listens.
    assert!(stream.frames.is_closed());
}

/// A proxy has the trailers a moment after the message.
#[tokio::test]
async fn the_end_of_an_answer_may_come_five_seconds_after_its_late_data() {
    for (waits, status) in [(4, "0"), (5, "16")] {
        let world = World::new().await;
        let mut answer = Answer::begin(&world, "application/grpc").await;
        world.clock.advance(LIFE);
        answer.send(b"message");
        assert_eq!(answer.data().await, "message");
        assert!(answer.is_waiting().await);
        world.clock.advance(Duration::from_secs(waits));
        if status == "0" {
            assert!(answer.is_waiting().await);
            answer.frames.send(trailers()).unwrap();
        }
        assert_eq!(answer.end().await["grpc-status"], status);
    }
}

/// However much is ready: a busy stream does not outlive its token.
#[tokio::test]
async fn data_that_is_ready_is_not_passed_on_after_the_end() {
    let world = World::new().await;
    let mut stream = Answer::begin(&world, "application/grpc").await;
    stream.send(b"one");
    stream.send(b"two");
    assert_eq!(stream.data().await, "one");
    world.clock.advance(LIFE);
    assert_eq!(stream.end().await["grpc-status"], "16");
}

#[tokio::test]
async fn data_of_a_request_is_not_passed_on_after_the_end() {
    let world = World::new().await;
    let pieces =
        [&b"one"[..], b"two"].map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from(piece))));
    let body = Body::new(StreamBody::new(futures_util::stream::iter(pieces)));
    let read = Arc::new(Mutex::new(Vec::new()));
    let (clock, seen) = (world.clock.clone(), Arc::clone(&read));
    let handler = service_fn(move |request: Request<GuardedBody<Body>>| {
        let (clock, seen) = (clock.clone(), Arc::clone(&seen));
        async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                seen.lock().unwrap().push(frame.into_data().unwrap());
                clock.advance(LIFE);
            }
            Ok::<_, Infallible>(Response::new(Body::from("done")))
        }
    });
    let service = world
        .layer
        .clone()
        .end_streams(Duration::ZERO)
        .layer(handler);
    let response = service.oneshot(posted(&world, body)).await.unwrap();
    assert_eq!(*read.lock().unwrap(), ["one"]);
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn what_ends_by_itself_is_not_made_to_look_cut() {
    let world = World::new().await;
    let mut stream = Answer::begin(&world, "application/grpc").await;
    stream.send(b"all of it");
    assert_eq!(stream.data().await, "all of it");
    world.clock.advance(LIFE);
    stream.frames.send(trailers()).unwrap();
    assert_eq!(stream.end().await["grpc-status"], "0");
}

#[tokio::test]
async fn grpc_web_ends_with_a_message_of_trailers_between_messages() {
    for (content_type, sent) in [
        (
            "application/grpc-web+proto",
            &[&b"\0\0\0\0\x01a\0\0\0"[..], b"\0\x02bc"][..],
        ),
        ("application/grpc-web-text", &[b"AAAAAAFhAAAA", b"AAJiYw=="]),
    ] {
        let world = World::new().await;
        let mut answer = Answer::begin(&world, content_type).await;
        for data in sent {
            answer.send(data);
            assert_eq!(answer.data().await, *data);
        }
        world.clock.advance(LIFE);
        let mut end = answer.data().await.to_vec();
        if content_type.contains("text") {
            end = base64::engine::general_purpose::STANDARD
                .decode(end)
                .unwrap();
        }
        let text = String::from_utf8(end.split_off(5)).unwrap();
        let length = u32::from_be_bytes(end[1..].try_into().unwrap());
        assert_eq!((end[0], length as usize), (0x80, text.len()));
        assert!(text.contains("grpc-status:16\r\n"), "{text}");
        assert!(
            text.contains("grpc-message:the token has expired\r\n"),
            "{text}"
        );
        assert!(answer.next().await.is_none());
    }
}

/// It says that itself what has ended, in a message like any other.
#[tokio::test]
async fn grpc_web_that_ends_by_itself_is_not_made_to_look_cut() {
    let rows: [(&str, [&'static [u8]; 2]); 2] = [
        (
            "application/grpc-web+proto",
            [b"\0\0\0\0\x01a", b"\x80\0\0\0\x0fgrpc-status:0\r\n"],
        ),
        (
            "application/grpc-web-text",
            [b"AAAAAAFh", b"gAAAAA9ncnBjLXN0YXR1czowDQo="],
        ),
    ];
    for (content_type, [message, end]) in rows {
        for is_late in [true, false] {
            let world = World::new().await;
            let mut answer = Answer::begin(&world, content_type).await;
            if is_late {
                world.clock.advance(LIFE);
            }
            answer.send(message);
            assert_eq!(answer.data().await, message);
            world.clock.advance(LIFE);
            answer.send(end);
            assert_eq!(answer.data().await, end);
            assert!(answer.is_waiting().await, "nothing is put behind the end");
            let Answer { frames, mut body } = answer;
            drop(frames);
            assert!(in_time(body.frame()).await.is_none());
            assert_eq!(world.log.with_prefix("decision").len(), 1);
        }
    }
}

/// Trailers in the middle of a message would be taken for a part of it.
#[tokio::test]
async fn grpc_web_is_aborted_within_a_message() {
    for (content_type, sent) in [
        ("application/grpc-web+proto", &b"\0\0\0\0\x09abc"[..]),
        ("application/grpc-web+proto", b"\0\0\0\0\x01a\0\0"),
        ("application/grpc-web-text", b"AAAAAAJh"),
        ("application/grpc-web-text", b"not base64"),
    ] {
        let world = World::new().await;
        let mut answer = Answer::begin(&world, content_type).await;
        answer.send(sent);
        answer.data().await;
        world.clock.advance(LIFE);
        let error = answer.next().await.unwrap().unwrap_err();
        let rejection: &Rejection = error.downcast_ref().unwrap();
        assert_eq!(rejection.kind().as_str(), "TOKEN_EXPIRED");
        assert!(answer.next().await.is_none());
    }
}
