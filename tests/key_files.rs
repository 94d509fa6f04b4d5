//! Keys that are given, or in files.
#![cfg(all(feature = "axum", feature = "test-util"))]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use axum::{Router, routing::get};
use portcullis::{
    Algorithm, AuthenticateLayer, AuthorizationServer, KeyStatus, ResourceServer,
    test_util::{FakeClock, SigningKey},
};
use serde_json::json;
use support::{Answer, Log, ask, in_time, patient, until_fetched};

const ISSUER: &str = "https://id.example";
/// How often files are looked at.
const WATCH: Duration = Duration::from_secs(10);

/// A directory that is gone when it is dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("keys-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes it beside, and renames it over what is there.
    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        let beside = self.path(".beside");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.path(name)).unwrap();
    }

    fn remove(&self, name: &str) {
        let path = self.path(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir(path).unwrap(),
            Ok(_) => fs::remove_file(path).unwrap(),
            Err(_) => {}
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A service that trusts one authorization server.
struct World {
    clock: FakeClock,
    layer: AuthenticateLayer,
    app: Router,
    log: Log,
}

impl World {
    fn new(configure: impl FnOnce(AuthorizationServer) -> AuthorizationServer) -> Self {
        // Whoever asked for these keys would get none.
        let server = AuthorizationServer::with_issuer(ISSUER, "http://127.0.0.1:1/keys")
            .audience("api")
            .algorithms([Algorithm::Es256])
            .jwks_policy(patient());
        let resource_server = ResourceServer::builder()
            .token_cache(support::token_cache())
            .trust(configure(server))
            .build()
            .unwrap();
        let (clock, log) = (FakeClock::new(), Log::default());
        let layer = AuthenticateLayer::builder(resource_server)
            .clock(clock.clock())
            .audit(log.clone())
            .build();
        let app = Router::new()
            .route("/", get(|| async {}))
            .layer(layer.clone());
        Self {
            clock,
            layer,
            app,
            log,
        }
    }

    async fn ask(&self, key: &SigningKey) -> Answer {
        let now = self.clock.now().as_secs();
        let token = key.sign(&json!({
            "iss": ISSUER, "aud": "api", "sub": "joe", "iat": now, "exp": now + 3_600,
        }));
        in_time(ask(&self.app, &token)).await
    }

    async fn accepts(&self, key: &SigningKey) -> bool {
        self.ask(key).await.status == 200
    }

    async fn kind(&self, key: &SigningKey) -> Option<&'static str> {
        self.ask(key).await.kind
    }

    /// Time goes by until the keys have been looked at again.
    async fn until_looked_at(&self, step: Duration) {
        until_fetched(&self.log, &self.clock, step).await;
    }

    fn status(&self) -> KeyStatus {
        self.layer.health()[0].status
    }

    fn last_look(&self) -> String {
        self.log.with_prefix("fetch").pop().unwrap()
    }
}

fn keys<const N: usize>() -> [SigningKey; N] {
    std::array::from_fn(|_| SigningKey::generate(Algorithm::Es256))
}

fn jwks(keys: &[&SigningKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

fn jwk(key: &SigningKey) -> String {
    key.jwk().to_string()
}

#[tokio::test]
async fn given_keys_are_all_there_is() {
    let [ours, other] = keys();
    let world = World::new(|server| server.jwks_json(jwks(&[&ours])));
    assert!(world.accepts(&ours).await);
    assert_eq!(world.kind(&other).await, Some("KEY_UNKNOWN"));
    let forged = other.with_kid(ours.kid());
    assert_eq!(world.kind(&forged).await, Some("SIGNATURE_INVALID"));
    assert_eq!(world.status(), KeyStatus::Ready);
    let looks = world.log.fetches();
    for number in 0..1_000 {
        let junk = ours.clone().with_kid(format!("junk-{number}"));
        assert_eq!(world.kind(&junk).await, Some("KEY_UNKNOWN"));
    }
    assert_eq!(world.log.fetches(), looks, "there is nothing new to see");
    for _ in 0..10 {
        world.until_looked_at(Duration::from_secs(3_600)).await;
        assert!(world.accepts(&ours).await);
        assert_eq!(world.status(), KeyStatus::Ready);
    }
    assert_eq!(world.log.with_prefix("outage"), [""; 0]);
}

#[test]
fn what_is_no_key_set_is_refused_when_the_policy_is_made() {
    let [key] = keys();
    for text in [
        String::new(),
        "{}".to_owned(),
        r#"{"keys":[]}"#.to_owned(),
        r#"{"keys":{}}"#.to_owned(),
        "[]".to_owned(),
        format!("[[{}]]", jwk(&key)),
        jwk(&key),
        format!("{} trailing", jwks(&[&key])),
    ] {
        let server = AuthorizationServer::with_issuer(ISSUER, "https://id.example/keys")
            .audience("api")
            .jwks_json(text.clone());
        let policy = ResourceServer::builder().trust(server).build();
        assert!(policy.is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_key_that_is_added_to_the_file_is_seen_within_ten_seconds() {
    let [first, second] = keys();
    let directory = Directory::new();
    directory.put("keys", jwks(&[&first]));
    let world = World::new(|server| server.jwks_file(directory.path("keys")));
    assert!(world.accepts(&first).await);
    directory.put("keys", jwks(&[&first, &second]));
    world.until_looked_at(WATCH).await;
    let looks = world.log.fetches();
    assert!(world.accepts(&second).await);
    assert!(world.accepts(&first).await);
    assert_eq!(world.log.fetches(), looks, "it was seen before");
}

#[tokio::test]
async fn a_key_that_is_added_to_the_file_is_seen_at_once_when_a_token_names_it() {
    let [first, second] = keys();
    let directory = Directory::new();
    directory.put("keys", jwks(&[&first]));
    let world = World::new(|server| server.jwks_file(directory.path("keys")));
    assert!(world.accepts(&first).await);
    directory.put("keys", jwks(&[&first, &second]));
    assert!(world.accepts(&second).await);
    assert_eq!(world.log.fetches(), 2);
    for number in 0..1_000 {
        let junk = first.clone().with_kid(format!("junk-{number}"));
        assert_eq!(world.kind(&junk).await, Some("KEY_UNKNOWN"));
    }
    assert!(world.log.fetches() <= 3, "looks at the file are bounded");
}

#[tokio::test]
async fn a_key_that_is_removed_from_the_file_is_refused_within_ten_seconds() {
    let [first, second] = keys();
    let directory = Directory::new();
    directory.put("keys", jwks(&[&first, &second]));
    let world = World::new(|server| server.jwks_file(directory.path("keys")));
    assert!(world.accepts(&first).await);
    directory.put("keys", jwks(&[&second]));
    world.until_looked_at(WATCH).await;
    assert_eq!(world.kind(&first).await, Some("KEY_UNKNOWN"));
    assert!(world.accepts(&second).await);
}

/// Makes the file unusable, and says what it is then taken for; `None` where that cannot be done here.
type Spoil = fn(&Directory, &str) -> Option<&'static str>;

const SPOILS: [(&str, Spoil); 9] = [
    ("deleted", |directory, name| {
        directory.remove(name);
        Some("Unreadable")
    }),
    ("empty", |directory, name| {
        directory.put(name, "");
        Some("NotAKeySet")
    }),
    ("garbage", |directory, name| {
        directory.put(name, b"\xff\xfe\0");
        Some("NotAKeySet")
    }),
    ("an array", |directory, name| {
        let text = fs::read_to_string(directory.path(name)).unwrap();
        directory.put(name, format!("[[{text}]]"));
        Some("NotAKeySet")
    }),
    ("half written", |directory, name| {
        let text = fs::read(directory.path(name)).unwrap();
        fs::write(directory.path(name), &text[..text.len() / 2]).unwrap();
        Some("NotAKeySet")
    }),
    ("too large", |directory, name| {
        directory.put(name, " ".repeat(1_024 * 1_024));
        Some("TooLarge")
    }),
    ("a directory", |directory, name| {
        directory.remove(name);
        fs::create_dir(directory.path(name)).unwrap();
        Some("Unreadable")
    }),
    ("a pipe", |directory, name| {
        directory.remove(name);
        let made = std::process::Command::new("mkfifo")
            .arg(directory.path(name))
            .status();
        if made.is_ok_and(|status| status.success()) {
            return Some("Unreadable");
        }
        directory.put(name, "");
        None
    }),
    ("not ours to read", |directory, name| {
        forbid_reading(&directory.path(name));
        // Whoever may do anything may read it.
        fs::File::open(directory.path(name))
            .is_err()
            .then_some("Unreadable")
    }),
];

#[cfg(unix)]
fn forbid_reading(path: &Path) {
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
}

#[cfg(not(unix))]
fn forbid_reading(_: &Path) {}

async fn keys_outlive(
    trust: fn(AuthorizationServer, &Directory) -> AuthorizationServer,
    (what, spoil): (&str, Spoil),
) {
    let [first, second] = keys();
    let directory = Directory::new();
    directory.put("keys.json", jwks(&[&first]));
    let world = World::new(|server| trust(server, &directory));
    assert!(world.accepts(&first).await);
    let Some(failure) = spoil(&directory, "keys.json") else {
        return;
    };
    for round in 0..10 {
        world.until_looked_at(WATCH).await;
        assert!(world.accepts(&first).await, "{what}, round {round}");
        assert!(matches!(world.status(), KeyStatus::Degraded { .. }));
        let expected = format!("fetch failure=Some({failure}) left_out=0");
        assert_eq!(world.last_look(), expected, "{what}");
    }
    assert_eq!(
        world.kind(&second).await,
        Some("KEYS_UNAVAILABLE"),
        "who knows?"
    );
    // What is put right is seen as soon as what is changed.
    directory.remove("keys.json");
    directory.put("keys.json", jwks(&[&first, &second]));
    world.until_looked_at(WATCH).await;
    assert_eq!(world.status(), KeyStatus::Ready, "{what}");
    assert!(world.accepts(&second).await);
    assert_eq!(world.log.with_prefix("recovery").len(), 1);

    spoil(&directory, "keys.json");
    world.until_looked_at(WATCH).await;
    assert!(world.accepts(&second).await);
    world.until_looked_at(Duration::from_secs(5 * 3_600)).await;
    let kind = world.kind(&second).await;
    assert_eq!(kind, Some("KEYS_UNAVAILABLE"), "{what}, past the stale cap");
    assert!(matches!(world.status(), KeyStatus::Down { .. }));
    directory.remove("keys.json");
    directory.put("keys.json", jwks(&[&second]));
    world.until_looked_at(WATCH).await;
    assert!(world.accepts(&second).await);
}

#[tokio::test]
async fn while_the_file_cannot_be_used_the_keys_from_before_are() {
    for spoil in SPOILS {
        keys_outlive(|server, at| server.jwks_file(at.path("keys.json")), spoil).await;
    }
}

#[tokio::test]
async fn a_file_that_was_never_there_is_found_when_it_is() {
    let [key] = keys();
    let directory = Directory::new();
    let world = World::new(|server| server.jwks_file(directory.path("keys")));
    assert_eq!(world.kind(&key).await, Some("KEYS_UNAVAILABLE"));
    assert_eq!(
        world.log.with_prefix("outage"),
        ["outage Unreadable held=false"]
    );
    directory.put("keys", jwks(&[&key]));
    world.until_looked_at(WATCH).await;
    assert!(world.accepts(&key).await);
}

#[tokio::test]
async fn a_file_without_keys_takes_the_keys_away_only_when_seen_twice() {
    let [key] = keys();
    let directory = Directory::new();
    directory.put("keys", jwks(&[&key]));
    let world = World::new(|server| server.jwks_file(directory.path("keys")));
    assert!(world.accepts(&key).await);
    directory.put("keys", jwks(&[]));
    // Before they are ten seconds old, as it is on a machine that is awake.
    world.until_looked_at(WATCH - Duration::from_secs(1)).await;
    assert!(world.accepts(&key).await, "once may be a mishap");
    world.until_looked_at(WATCH).await;
    assert_eq!(world.kind(&key).await, Some("KEYS_UNAVAILABLE"));
}

#[tokio::test]
async fn a_directory_holds_key_sets_and_keys() {
    let [a, b, c, hidden, other] = keys();
    let directory = Directory::new();
    directory.put("sets.json", jwks(&[&a, &b]));
    directory.put("one.json", jwk(&c));
    directory.put("none.json", jwks(&[]));
    directory.put(".hidden.json", jwks(&[&hidden]));
    directory.put("README", "not JSON");
    directory.put("other.jwks", jwks(&[&other]));
    let world = World::new(|server| server.jwks_directory(&directory.0));
    for key in [&a, &b, &c] {
        assert!(world.accepts(key).await);
    }
    for key in [&hidden, &other] {
        assert_eq!(world.kind(key).await, Some("KEY_UNKNOWN"));
    }
    // Files come and go.
    directory.remove("one.json");
    directory.put("late.json", jwk(&other));
    world.until_looked_at(WATCH).await;
    assert_eq!(world.kind(&c).await, Some("KEY_UNKNOWN"));
    assert!(world.accepts(&other).await);
    assert!(world.accepts(&a).await);
}

#[tokio::test]
async fn while_a_file_of_the_directory_cannot_be_used_the_keys_from_before_are() {
    for spoil in SPOILS {
        // Of a directory, a file that is not there is no mistake.
        if spoil.0 == "deleted" {
            continue;
        }
        let trust = |server: AuthorizationServer, at: &Directory| {
            at.put("sound.json", jwks(&[]));
            server.jwks_directory(&at.0)
        };
        keys_outlive(trust, spoil).await;
    }
}

#[tokio::test]
async fn while_the_directory_is_not_there_the_keys_from_before_are_used() {
    let [key] = keys();
    let directory = Directory::new();
    let inner = directory.path("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("a.json"), jwk(&key)).unwrap();
    let world = World::new(|server| server.jwks_directory(&inner));
    assert!(world.accepts(&key).await);
    fs::rename(&inner, directory.path("away")).unwrap();
    world.until_looked_at(WATCH).await;
    assert!(matches!(world.status(), KeyStatus::Degraded { .. }));
    assert!(world.accepts(&key).await);
    fs::write(&inner, jwks(&[&key])).unwrap();
    world.until_looked_at(WATCH).await;
    assert!(matches!(world.status(), KeyStatus::Degraded { .. }));
    fs::remove_file(&inner).unwrap();
    fs::rename(directory.path("away"), &inner).unwrap();
    world.until_looked_at(WATCH).await;
    assert_eq!(world.status(), KeyStatus::Ready);
}

#[tokio::test]
async fn a_directory_has_a_hundred_files_at_most() {
    let [key] = keys();
    let directory = Directory::new();
    for number in 0..100 {
        directory.put(&format!("{number}.json"), jwk(&key));
    }
    let world = World::new(|server| server.jwks_directory(&directory.0));
    assert!(world.accepts(&key).await);
    directory.put("one-too-many.json", jwk(&key));
    world.until_looked_at(WATCH).await;
    let too_many = "fetch failure=Some(TooLarge) left_out=0";
    assert_eq!(world.last_look(), too_many);
    assert!(world.accepts(&key).await);
    // Those that do not count do not count.
    directory.remove("one-too-many.json");
    directory.put(".hidden.json", jwk(&key));
    directory.put("README", "");
    world.until_looked_at(WATCH).await;
    assert_eq!(world.status(), KeyStatus::Ready);
}

#[tokio::test]
async fn the_files_of_a_directory_share_the_room_of_one() {
    let [key] = keys();
    let directory = Directory::new();
    directory.put("a.json", jwk(&key));
    let policy = patient().max_body(4_096);
    let world = World::new(|server| server.jwks_policy(policy).jwks_directory(&directory.0));
    assert!(world.accepts(&key).await);
    for number in 0..3 {
        let text = jwk(&key) + &" ".repeat(1_500);
        directory.put(&format!("b{number}.json"), text);
    }
    world.until_looked_at(WATCH).await;
    let too_large = "fetch failure=Some(TooLarge) left_out=0";
    assert_eq!(world.last_look(), too_large);
    assert!(world.accepts(&key).await);
}

/// As Kubernetes mounts a `ConfigMap` or a `Secret`: what is named is a link into `..data`, which is a
/// link to a directory, and is replaced whole.
#[cfg(unix)]
mod kubernetes {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mount(directory: &Directory, version: &str, files: &[(&str, String)]) {
        let inner = directory.path(version);
        fs::create_dir(&inner).unwrap();
        for (name, text) in files {
            fs::write(inner.join(name), text).unwrap();
        }
        symlink(version, directory.path("..data_tmp")).unwrap();
        fs::rename(directory.path("..data_tmp"), directory.path("..data")).unwrap();
        for (name, _) in files {
            let link = directory.path(name);
            if fs::symlink_metadata(&link).is_err() {
                symlink(Path::new("..data").join(name), link).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_mounted_directory_is_followed() {
        let [a, b, c] = keys();
        let directory = Directory::new();
        mount(
            &directory,
            "..1",
            &[("a.json", jwk(&a)), ("b.json", jwks(&[&b]))],
        );
        let world = World::new(|server| server.jwks_directory(&directory.0));
        assert!(world.accepts(&a).await && world.accepts(&b).await);
        mount(
            &directory,
            "..2",
            &[("a.json", jwk(&a)), ("b.json", jwks(&[&c]))],
        );
        fs::remove_dir_all(directory.path("..1")).unwrap();
        world.until_looked_at(WATCH).await;
        assert!(world.accepts(&a).await && world.accepts(&c).await);
        assert_eq!(world.kind(&b).await, Some("KEY_UNKNOWN"));
        // A link that leads nowhere is a file that cannot be read.
        symlink("..data/gone.json", directory.path("gone.json")).unwrap();
        world.until_looked_at(WATCH).await;
        assert!(matches!(world.status(), KeyStatus::Degraded { .. }));
        assert!(world.accepts(&a).await && world.accepts(&c).await);
    }

    #[tokio::test]
    async fn a_mounted_file_is_followed() {
        let [a, b] = keys();
        let directory = Directory::new();
        mount(&directory, "..1", &[("keys", jwks(&[&a]))]);
        let world = World::new(|server| server.jwks_file(directory.path("keys")));
        assert!(world.accepts(&a).await);
        mount(&directory, "..2", &[("keys", jwks(&[&b]))]);
        assert!(world.accepts(&b).await);
        assert_eq!(world.kind(&a).await, Some("KEY_UNKNOWN"));
    }
}

#[test]
fn a_file_system_that_hangs_holds_up_no_request_whose_key_is_held() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let [key, other] = keys();
    let directory = Directory::new();
    directory.put("keys", jwks(&[&key]));
    runtime.block_on(async {
        let policy = patient().fetch_deadline(Duration::from_millis(300));
        let world =
            World::new(|server| server.jwks_policy(policy).jwks_file(directory.path("keys")));
        assert!(world.accepts(&key).await);
        // From here on nobody is there who could read.
        let (release, hang) = std::sync::mpsc::channel::<()>();
        let hanging = tokio::task::spawn_blocking(move || hang.recv());
        world.clock.advance(WATCH);
        for _ in 0..100 {
            assert!(world.accepts(&key).await);
        }
        for _ in 0..3 {
            world.until_looked_at(WATCH).await;
            assert_eq!(world.last_look(), "fetch failure=Some(Timeout) left_out=0");
            assert!(world.accepts(&key).await);
        }
        assert_eq!(world.kind(&other).await, Some("KEYS_UNAVAILABLE"));
        drop(release);
        let _ = hanging.await;
        world.until_looked_at(WATCH).await;
        assert_eq!(world.status(), KeyStatus::Ready);
    });
}
