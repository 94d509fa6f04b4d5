//! One HTTP exchange: ask an authorization server for its keys, bounded in time and size.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, AGE, CACHE_CONTROL, ETAG, IF_NONE_MATCH, RETRY_AFTER},
};
use reqwest::{Client, Response, redirect};
use url::Url;

use crate::{
    audit::FetchFailure, authorization_server::is_loopback, jwks_policy::JwksPolicy, time::UnixTime,
};

/// As many hops within one origin are followed.
const MAX_REDIRECTS: usize = 3;

/// What the server said.
pub(crate) enum Reply {
    Body {
        body: Vec<u8>,
        max_age: Option<Duration>,
        etag: Option<HeaderValue>,
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
}

impl HttpClient {
    pub(crate) fn given(client: Client) -> Self {
        Self {
            given: Some(client),
            made: Arc::default(),
        }
    }

    /// Proxies of the environment are for other hosts than this one.
    fn client_for(&self, url: &Url) -> Option<&Client> {
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

/// Asks for the keys at `url`. One deadline covers everything from name resolution to the last
/// byte.
pub(crate) async fn fetch(
    client: &HttpClient,
    url: &Url,
    etag: Option<HeaderValue>,
    policy: &JwksPolicy,
    now: UnixTime,
) -> Result<Reply, Failed> {
    let client = client.client_for(url).ok_or(FetchFailure::Client)?;
    let exchange = async {
        let mut request = client
            .get(url.clone())
            .header(ACCEPT, "application/json, application/jwk-set+json");
        if let Some(etag) = &etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(|_| FetchFailure::Connection)?;
        let headers = response.headers();
        let max_age = max_age(headers);
        if response.url().origin() != url.origin() {
            return Err(FetchFailure::OtherOrigin.into());
        }
        match response.status() {
            StatusCode::OK => Ok(Reply::Body {
                max_age,
                etag: headers.get(ETAG).cloned(),
                body: body(response, policy.max_body).await?,
            }),
            StatusCode::NOT_MODIFIED if etag.is_some() => Ok(Reply::NotModified { max_age }),
            status => Err(Failed {
                failure: FetchFailure::Status(status.as_u16()),
                retry_after: retry_after(headers, now),
            }),
        }
    };
    tokio::time::timeout(policy.fetch_deadline, exchange)
        .await
        .map_err(|_| FetchFailure::Timeout)?
}

/// The body, as long as it stays within `max` bytes.
async fn body(mut response: Response, max: usize) -> Result<Vec<u8>, FetchFailure> {
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
fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
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
}
