//! One fetch: get an authorization server's keys from where they are, bounded in time and size.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, AGE, CACHE_CONTROL, ETAG, IF_NONE_MATCH, RETRY_AFTER},
};
use reqwest::{Client, Response, redirect};
use serde_json::value::RawValue;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use url::Url;

use super::snapshot::Etag;
use crate::{
    audit::FetchFailure,
    authorization_server::AuthorizationServer,
    key_source::{Discovery, InvalidMetadata, KeySource, is_loopback, is_object},
    lock::lock,
    time::UnixTime,
};

/// How often files are looked at.
pub(crate) const WATCH_INTERVAL: Duration = Duration::from_secs(10);

/// So many files of a directory are read.
const MAX_FILES: usize = 100;

/// As many hops within one origin are followed.
const MAX_REDIRECTS: usize = 3;

/// What the server said.
pub(crate) enum Reply {
    Body {
        body: Vec<u8>,
        max_age: Option<Duration>,
        etag: Option<Etag>,
    },
    NotModified {
        max_age: Option<Duration>,
    },
}

pub(crate) struct Failed {
    pub(crate) failure: FetchFailure,
    pub(crate) retry_after: Option<Duration>,
}

impl From<FetchFailure> for Failed {
    fn from(failure: FetchFailure) -> Self {
        Self {
            failure,
            retry_after: None,
        }
    }
}

/// The HTTP clients of all caches; made when first needed, so that setting up never fails.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpClient {
    given: Option<Client>,
    made: Arc<[OnceLock<Client>; 2]>,
    slots: Arc<Slots>,
}

/// How many fetches of all authorization servers may be under way at once. Each server has one at
/// most, and those that wait get their turn in the order they came; those that failed the last time
/// have slots of their own, so that servers that do not answer keep nobody else from asking.
#[derive(Debug)]
struct Slots {
    sound: Semaphore,
    failing: Semaphore,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            sound: Semaphore::new(512),
            failing: Semaphore::new(128),
        }
    }
}

impl HttpClient {
    pub(crate) fn given(client: Client) -> Self {
        Self {
            given: Some(client),
            ..Self::default()
        }
    }

    /// For tests of what waits for its turn.
    #[cfg(all(test, feature = "test-util"))]
    pub(crate) fn with_slots(sound: usize, failing: usize) -> Self {
        Self {
            slots: Arc::new(Slots {
                sound: Semaphore::new(sound),
                failing: Semaphore::new(failing),
            }),
            ..Self::default()
        }
    }

    /// Waits for a slot.
    pub(crate) async fn turn(&self, is_retry: bool) -> Result<SemaphorePermit<'_>, AcquireError> {
        let Slots { sound, failing } = &*self.slots;
        if is_retry { failing } else { sound }.acquire().await
    }

    /// Proxies of the environment are for other hosts than this one.
    pub(crate) fn client_for(&self, url: &Url) -> Option<&Client> {
        if let Some(client) = &self.given {
            return Some(client);
        }
        let is_local = is_loopback(url);
        let [remote, local] = &*self.made;
        let made = if is_local { local } else { remote };
        if let Some(client) = made.get() {
            return Some(client);
        }
        let builder = Client::builder()
            // Fetches are an hour apart, and a connection dies with the runtime it was made on.
            .pool_max_idle_per_host(0)
            .redirect(redirect::Policy::custom(|attempt| {
                let first = attempt.previous().first();
                let same_origin = first.is_some_and(|f| f.origin() == attempt.url().origin());
                if same_origin && attempt.previous().len() <= MAX_REDIRECTS {
                    attempt.follow()
                } else {
                    attempt.stop()
                }
            }))
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        let builder = if is_local {
            builder.no_proxy()
        } else {
            builder
        };
        // What failed once is tried again with the next fetch.
        let client = builder.build().ok()?;
        Some(made.get_or_init(|| client))
    }
}

/// What is known of an issuer whose metadata says where its keys are.
#[derive(Debug, Default)]
pub(crate) struct Discovered {
    /// Where the key set was the last time.
    pub(crate) jwks_uri: Option<Url>,
    /// Why it was taken from there, the last time, since the metadata could not be had.
    pub(crate) gone_without: Option<FetchFailure>,
}

/// What is to be fetched, and what is known of it.
pub(crate) struct Fetch<'f> {
    pub(crate) client: &'f HttpClient,
    pub(crate) server: &'f AuthorizationServer,
    pub(crate) discovered: &'f Mutex<Discovered>,
    /// Who reads files: one at a time, so that a file system that hangs keeps one thread, and no more
    /// with each attempt.
    pub(crate) reader: &'f Arc<Semaphore>,
    pub(crate) etag: Option<Etag>,
    pub(crate) now: UnixTime,
}

impl Fetch<'_> {
    /// Gets the keys. One deadline covers everything from the first byte to the last.
    pub(crate) async fn run(self, source: &KeySource) -> Result<Reply, Failed> {
        let deadline = self.server.jwks.fetch_deadline;
        let fetch = async {
            match source {
                KeySource::Uri(url) => self.key_set(url).await,
                KeySource::Discovery(discovery) => {
                    let url = self.discover(discovery).await?;
                    self.key_set(&url).await
                }
                KeySource::Json(keys) => Ok(Reply::Body {
                    body: keys.to_vec(),
                    max_age: None,
                    etag: None,
                }),
                KeySource::Nowhere => Err(FetchFailure::NoUsableKey.into()),
                KeySource::File(path) => self.read(path, read_file).await,
                KeySource::Directory(path) => self.read(path, read_directory).await,
            }
        };
        tokio::time::timeout(deadline, fetch)
            .await
            .map_err(|_| FetchFailure::Timeout)?
    }

    async fn key_set(&self, url: &Url) -> Result<Reply, Failed> {
        let accept = "application/json, application/jwk-set+json";
        // What was seen of another key set says nothing of this one.
        let held = self.etag.as_ref().filter(|etag| etag.of == *url);
        let held = held.map(|etag| &etag.value);
        let response = self.get(url, accept, held).await?;
        let headers = response.headers();
        let max_age = max_age(headers);
        if response.url().origin() != url.origin() {
            return Err(FetchFailure::OtherOrigin.into());
        }
        match response.status() {
            StatusCode::OK => Ok(Reply::Body {
                max_age,
                etag: headers.get(ETAG).map(|value| Etag {
                    of: url.clone(),
                    value: value.clone(),
                }),
                body: read_body(response, self.server.jwks.max_body).await?,
            }),
            StatusCode::NOT_MODIFIED if held.is_some() => Ok(Reply::NotModified { max_age }),
            status => Err(Failed {
                failure: FetchFailure::Status(status.as_u16()),
                retry_after: retry_after(headers, self.now),
            }),
        }
    }

    /// Where the key set is, by the issuer's metadata. If that cannot be had, where it was.
    async fn discover(&self, discovery: &Discovery) -> Result<Url, Failed> {
        let known = self.discovered().jwks_uri.clone();
        let limit = match known {
            None => self.server.jwks.fetch_deadline,
            // Metadata that hangs leaves time for the keys.
            Some(_) => self.server.jwks.fetch_deadline / 2,
        };
        let found = tokio::time::timeout(limit, self.jwks_uri(discovery)).await;
        let found = found.unwrap_or_else(|_| Err(FetchFailure::Timeout.into()));
        let mut discovered = self.discovered();
        discovered.gone_without = None;
        match (found, known) {
            (Ok(url), _) => {
                discovered.jwks_uri = Some(url.clone());
                Ok(url)
            }
            // What could be had, and must not be used, is no reason to go on with what it said before.
            (Err(failed), Some(known)) if !is_about_use(failed.failure) => {
                discovered.gone_without = Some(failed.failure);
                Ok(known)
            }
            (Err(failed), _) => Err(failed),
        }
    }

    fn discovered(&self) -> MutexGuard<'_, Discovered> {
        lock(self.discovered)
    }

    /// By the first document that is there, and is the issuer's metadata: of a path that they do not know,
    /// some servers have a page to show, or the metadata of another issuer.
    async fn jwks_uri(&self, discovery: &Discovery) -> Result<Url, Failed> {
        let mut failed: Option<Failed> = None;
        for document in &discovery.documents {
            match self.jwks_uri_by(discovery, document).await {
                Err(other) if is_about_document(other.failure) => {
                    let says_more =
                        |failed: &Failed| telling(other.failure) > telling(failed.failure);
                    if failed.as_ref().is_none_or(says_more) {
                        failed = Some(other);
                    }
                }
                settled => return settled,
            }
        }
        Err(failed.unwrap_or_else(|| FetchFailure::NotMetadata.into()))
    }

    async fn jwks_uri_by(&self, discovery: &Discovery, document: &Url) -> Result<Url, Failed> {
        let response = self.get(document, "application/json", None).await?;
        if response.url() != document || response.status().is_redirection() {
            return Err(FetchFailure::Redirected.into());
        }
        if response.status() != StatusCode::OK {
            return Err(Failed {
                failure: FetchFailure::Status(response.status().as_u16()),
                retry_after: retry_after(response.headers(), self.now),
            });
        }
        let metadata = read_body(response, self.server.jwks.max_body).await?;
        let found = discovery.jwks_uri(&metadata, self.server.plain_http_allowed);
        found.map_err(|invalid| {
            Failed::from(match invalid {
                InvalidMetadata::NotMetadata => FetchFailure::NotMetadata,
                InvalidMetadata::OtherIssuer => FetchFailure::OtherIssuer,
                InvalidMetadata::UnacceptableJwksUri => FetchFailure::UnacceptableJwksUri,
            })
        })
    }

    async fn get(
        &self,
        url: &Url,
        accept: &'static str,
        etag: Option<&HeaderValue>,
    ) -> Result<Response, FetchFailure> {
        let client = self.client.client_for(url).ok_or(FetchFailure::Client)?;
        let mut request = client.get(url.clone()).header(ACCEPT, accept);
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        request.send().await.map_err(|_| FetchFailure::Connection)
    }

    async fn read(
        &self,
        path: &Path,
        read: fn(&Path, usize) -> Result<Vec<u8>, FetchFailure>,
    ) -> Result<Reply, Failed> {
        let (path, max) = (PathBuf::from(path), self.server.jwks.max_body);
        let turn = Arc::clone(self.reader).acquire_owned().await;
        let turn = turn.map_err(|_| FetchFailure::Unreadable)?;
        let body = tokio::task::spawn_blocking(move || {
            // Kept until it has been read, also if nobody waits for that any more.
            let _turn = turn;
            read(&path, max)
        })
        .await
        .map_err(|_| FetchFailure::Unreadable)??;
        Ok(Reply::Body {
            body,
            max_age: Some(WATCH_INTERVAL),
            etag: None,
        })
    }
}

/// Whether another document may say what this one does not.
const fn is_about_document(failure: FetchFailure) -> bool {
    match failure {
        FetchFailure::NotMetadata | FetchFailure::OtherIssuer => true,
        // It is not there. Of what a server cannot say now, it can say no other.
        FetchFailure::Status(status) => matches!(status, 400..=499) && status != 429,
        _ => false,
    }
}

/// How much it says of what is wrong.
const fn telling(failure: FetchFailure) -> u8 {
    match failure {
        FetchFailure::OtherIssuer => 2,
        FetchFailure::NotMetadata => 1,
        _ => 0,
    }
}

/// Whether metadata could be had, and must not be used.
const fn is_about_use(failure: FetchFailure) -> bool {
    matches!(
        failure,
        FetchFailure::NotMetadata | FetchFailure::OtherIssuer | FetchFailure::UnacceptableJwksUri
    )
}

fn read_file(path: &Path, max: usize) -> Result<Vec<u8>, FetchFailure> {
    let unreadable = |_| FetchFailure::Unreadable;
    // Whatever else it may be, a pipe for one, could keep us waiting.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(FetchFailure::Unreadable);
    }
    let mut text = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(max as u64 + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() > max {
        return Err(FetchFailure::TooLarge);
    }
    Ok(text)
}

/// The keys of all its files as one set.
fn read_directory(path: &Path, max: usize) -> Result<Vec<u8>, FetchFailure> {
    #[derive(serde::Deserialize)]
    struct Jwks {
        keys: Option<Vec<Box<RawValue>>>,
    }

    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(|_| FetchFailure::Unreadable)? {
        let entry = entry.map_err(|_| FetchFailure::Unreadable)?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let path = entry.path();
        if !is_hidden && path.extension() == Some(OsStr::new("json")) {
            paths.push(path);
        }
        if paths.len() > MAX_FILES {
            return Err(FetchFailure::TooLarge);
        }
    }
    paths.sort();
    let mut keys = Vec::new();
    let mut left = max;
    for path in paths {
        let text = read_file(&path, left)?;
        left -= text.len();
        if !is_object(&text) {
            return Err(FetchFailure::NotAKeySet);
        }
        let set: Jwks = serde_json::from_slice(&text).map_err(|_| FetchFailure::NotAKeySet)?;
        match set.keys {
            Some(of_file) => keys.extend(of_file),
            None => keys.push(serde_json::from_slice(&text).map_err(|_| FetchFailure::NotAKeySet)?),
        }
    }
    serde_json::to_vec(&serde_json::json!({ "keys": keys })).map_err(|_| FetchFailure::NotAKeySet)
}

/// The body, as long as it stays within `max` bytes.
pub(crate) async fn read_body(mut response: Response, max: usize) -> Result<Vec<u8>, FetchFailure> {
    if response
        .content_length()
        .is_some_and(|length| length > max as u64)
    {
        return Err(FetchFailure::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|_| FetchFailure::Connection)?
    {
        if body.len() + chunk.len() > max {
            return Err(FetchFailure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// How long the answer may be used (RFC 9111 §5.2.2), less the time that it spent in caches
/// (§5.1). `no-store` and `no-cache` mean not at all, which the caller raises to its minimum.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut least: Option<u64> = None;
    let values = headers.get_all(CACHE_CONTROL).iter();
    for directive in values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
    {
        let directive = directive.trim().to_ascii_lowercase();
        let seconds = match directive.split_once('=') {
            None if directive == "no-store" || directive == "no-cache" => Some(0),
            Some((name, seconds)) if name.trim() == "max-age" => {
                seconds.trim().trim_matches('"').parse().ok()
            }
            _ => None,
        };
        least = match (least, seconds) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    let age = number(headers, AGE).unwrap_or(0);
    least.map(|seconds| Duration::from_secs(seconds.saturating_sub(age)))
}

/// Seconds, or a date (RFC 9110 §10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    if let Some(seconds) = number(headers, RETRY_AFTER) {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(headers.get(RETRY_AFTER)?.to_str().ok()?).ok()?;
    let seconds = date.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    Some(UnixTime::from_secs(seconds).saturating_since(now))
}

fn number(headers: &HeaderMap, name: http::HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    #[test]
    fn lifetimes_are_what_the_server_allows_less_the_age() {
        let cases = [
            (&[][..], None),
            (&[("cache-control", "max-age=600")], Some(600)),
            (&[("cache-control", "public, Max-Age=\"600\"")], Some(600)),
            (&[("cache-control", "max-age=600, max-age=60")], Some(60)),
            (&[("cache-control", "no-store")], Some(0)),
            (&[("cache-control", "max-age=600, no-cache")], Some(0)),
            (&[("cache-control", "s-maxage=600")], None),
            (&[("cache-control", "max-age=-1")], None),
            (
                &[("cache-control", "max-age=600"), ("age", "100")],
                Some(500),
            ),
            (&[("cache-control", "max-age=600"), ("age", "999")], Some(0)),
            (&[("cache-control", "max-age=600"), ("age", "x")], Some(600)),
        ];
        for (pairs, expected) in cases {
            assert_eq!(
                max_age(&headers(pairs)),
                expected.map(Duration::from_secs),
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UnixTime::from_secs(784_111_777 - 30);
        for (value, expected) in [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(
                retry_after(&headers(&[("retry-after", value)]), now),
                expected.map(Duration::from_secs),
                "{value}"
            );
        }
    }

    /// While this is locked, files are not read to their end.
    static HANGS: Mutex<()> = Mutex::new(());
    static READERS: AtomicUsize = AtomicUsize::new(0);

    fn read_slowly(_: &Path, _: usize) -> Result<Vec<u8>, FetchFailure> {
        READERS.fetch_add(1, Ordering::SeqCst);
        drop(HANGS.lock().unwrap());
        Ok(Vec::new())
    }

    #[test]
    fn a_file_system_that_hangs_keeps_one_thread_however_often_it_is_asked() {
        let server = AuthorizationServer::okta_custom("company.okta.com", "default")
            .audience("api")
            .jwks_file("keys");
        let fetch = Fetch {
            client: &HttpClient::default(),
            server: &server,
            discovered: &Mutex::default(),
            reader: &Arc::new(Semaphore::new(1)),
            etag: None,
            now: UnixTime::from_secs(0),
        };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        let hangs = HANGS.lock().unwrap();
        for _ in 0..3 {
            let reading = runtime.block_on(async {
                let read = fetch.read(Path::new("keys"), read_slowly);
                tokio::time::timeout(Duration::from_millis(50), read).await
            });
            assert!(reading.is_err(), "it hangs");
        }
        drop(hangs);
        let read = runtime.block_on(fetch.read(Path::new("keys"), read_slowly));
        assert!(read.is_ok(), "it goes on by itself");
        assert_eq!(READERS.load(Ordering::SeqCst), 2, "the first, and the last");
    }
}
