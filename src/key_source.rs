//! Where an authorization server's keys come from.

use std::{fmt, path::PathBuf, sync::Arc};

use serde::Deserialize;
use serde_json::value::RawValue;
use url::{Host, Url};

use crate::error::{ConfigError, without_userinfo};

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// A JWK Set at this URL.
    Uri(Url),
    /// A JWK Set at the URL that the issuer's metadata says.
    Discovery(Discovery),
    /// This JWK Set.
    Json(Arc<[u8]>),
    /// A JWK Set in this file.
    File(PathBuf),
    /// A JWK Set or a JWK in each file of this directory.
    Directory(PathBuf),
    /// Nowhere: its tokens are introspected.
    Nowhere,
}

/// Where an issuer's metadata may be, and which key sets it may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Discovery {
    pub(crate) issuer: Box<str>,
    /// In the order in which they are asked for.
    pub(crate) documents: Vec<Url>,
    /// Hosts that key sets may be on, beside the issuer's own origin.
    pub(crate) hosts: Vec<String>,
}

/// What is wrong with an issuer's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidMetadata {
    NotMetadata,
    OtherIssuer,
    UnacceptableJwksUri,
}

impl KeySource {
    pub(crate) fn uri(jwks_uri: &str) -> Result<Self, ConfigError> {
        match Url::parse(jwks_uri) {
            Ok(url) => Ok(Self::Uri(url)),
            Err(_) => Err(invalid_jwks_uri(jwks_uri, "is not a URL")),
        }
    }

    pub(crate) fn json(jwks: Vec<u8>) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        struct Jwks<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }

        match serde_json::from_slice::<Jwks<'_>>(&jwks) {
            Ok(_) if !is_object(&jwks) => Err(ConfigError::InvalidJwks {
                problem: "is not a JSON Web Key Set",
            }),
            Ok(set) if !set.keys.is_empty() => Ok(Self::Json(jwks.into())),
            Ok(_) => Err(ConfigError::InvalidJwks {
                problem: "has no keys",
            }),
            Err(_) => Err(ConfigError::InvalidJwks {
                problem: "is not a JSON Web Key Set",
            }),
        }
    }

    /// Whether a server is asked.
    pub(crate) const fn is_remote(&self) -> bool {
        matches!(self, Self::Uri(_) | Self::Discovery(_))
    }

    /// Whether it is looked at every now and then, since that costs next to nothing.
    pub(crate) const fn is_watched(&self) -> bool {
        matches!(self, Self::File(_) | Self::Directory(_))
    }

    pub(crate) fn check(&self, plain_http_allowed: bool) -> Result<(), ConfigError> {
        if let Self::Discovery(Discovery { hosts, .. }) = self
            && let Some(host) = hosts.iter().find(|host| Host::parse(host).is_err())
        {
            return Err(invalid_jwks_uri(host, "is not a host"));
        }
        let urls = match self {
            Self::Uri(url) => std::slice::from_ref(url),
            Self::Discovery(discovery) => &discovery.documents,
            Self::Json(_) | Self::File(_) | Self::Directory(_) | Self::Nowhere => &[],
        };
        match urls.iter().find_map(|url| {
            let problem = problem_of_url(url, plain_http_allowed)?;
            Some(invalid_jwks_uri(url.as_str(), problem))
        }) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// The URL, the path, or what else says where the keys are.
impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(url) => f.write_str(url.as_str()),
            Self::Discovery(discovery) => match discovery.documents.last() {
                Some(url) => f.write_str(url.as_str()),
                None => Ok(()),
            },
            Self::Json(_) => f.write_str("given keys"),
            Self::Nowhere => f.write_str("none"),
            Self::File(path) | Self::Directory(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Discovery {
    /// Where the metadata of this issuer may be.
    pub(crate) fn of(issuer: &str) -> Result<Self, ConfigError> {
        const OAUTH: &str = "/.well-known/oauth-authorization-server";
        const OPENID: &str = "/.well-known/openid-configuration";

        let invalid = |problem| ConfigError::InvalidIssuer {
            found: without_userinfo(issuer),
            problem,
        };
        let url = Url::parse(issuer).map_err(|_| invalid("is not a URL"))?;
        // Not as it was read, which may have lost a port or an escape, but as it is written.
        let path_at = issuer
            .find("://")
            .and_then(|at| Some(at + 3 + issuer.get(at + 3..)?.find('/')?))
            .unwrap_or(issuer.len());
        if url.query().is_some() {
            return Err(invalid("has a query"));
        }
        let (origin, path) = issuer.split_at(path_at);
        let path = path.trim_end_matches('/');
        let mut documents: Vec<Url> = Vec::new();
        for text in [
            format!("{origin}{OAUTH}{path}"),
            format!("{origin}{OPENID}{path}"),
            format!("{origin}{path}{OPENID}"),
        ] {
            let document = Url::parse(&text).map_err(|_| invalid("is not a URL"))?;
            if !documents.contains(&document) {
                documents.push(document);
            }
        }
        Ok(Self {
            issuer: issuer.into(),
            documents,
            hosts: Vec::new(),
        })
    }

    /// Key sets may be on this host, which is written as URLs write it.
    pub(crate) fn allow_host(&mut self, host: String) {
        let host = match Host::parse(&host) {
            Ok(parsed) => parsed.to_string(),
            Err(_) => host,
        };
        self.hosts.push(host);
    }

    /// Where the key set is, by this metadata.
    pub(crate) fn jwks_uri(
        &self,
        metadata: &[u8],
        plain_http_allowed: bool,
    ) -> Result<Url, InvalidMetadata> {
        #[derive(Deserialize)]
        struct Metadata {
            issuer: String,
            jwks_uri: String,
        }

        if !is_object(metadata) {
            return Err(InvalidMetadata::NotMetadata);
        }
        let metadata: Metadata =
            serde_json::from_slice(metadata).map_err(|_| InvalidMetadata::NotMetadata)?;
        // RFC 8414 §3.3: identical, or the metadata must not be used.
        if *metadata.issuer != *self.issuer {
            return Err(InvalidMetadata::OtherIssuer);
        }
        let url = Url::parse(&metadata.jwks_uri).map_err(|_| InvalidMetadata::NotMetadata)?;
        let is_issuers = self
            .documents
            .iter()
            .any(|own| own.origin() == url.origin());
        let host = url.host_str();
        let is_known = is_issuers || self.hosts.iter().any(|known| host == Some(known));
        if is_known && problem_of_url(&url, plain_http_allowed).is_none() {
            Ok(url)
        } else {
            Err(InvalidMetadata::UnacceptableJwksUri)
        }
    }
}

fn invalid_jwks_uri(found: &str, problem: &'static str) -> ConfigError {
    ConfigError::InvalidJwksUri {
        found: without_userinfo(found),
        problem,
    }
}

/// Whether a JSON text is an object; a struct would be read from an array as well.
pub(crate) fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

/// Whether a URL names this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Why keys, or an issuer, cannot be trusted from this URL.
pub(crate) fn problem_of_url(url: &Url, plain_http_allowed: bool) -> Option<&'static str> {
    match url.scheme() {
        "https" => {}
        "http" if plain_http_allowed || is_loopback(url) => {}
        "http" => return Some("is plain http"),
        _ => return Some("is not an https URL"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("has a user name or password");
    }
    url.fragment().map(|_| "has a fragment")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(issuer: &str) -> Vec<String> {
        let discovery = Discovery::of(issuer).unwrap();
        discovery.documents.iter().map(Url::to_string).collect()
    }

    #[test]
    fn metadata_is_asked_for_in_the_order_of_the_rfcs() {
        assert_eq!(
            documents("https://id.example"),
            [
                "https://id.example/.well-known/oauth-authorization-server",
                "https://id.example/.well-known/openid-configuration",
            ]
        );
        for issuer in ["https://id.example/t/a", "https://id.example/t/a/"] {
            assert_eq!(
                documents(issuer),
                [
                    "https://id.example/.well-known/oauth-authorization-server/t/a",
                    "https://id.example/.well-known/openid-configuration/t/a",
                    "https://id.example/t/a/.well-known/openid-configuration",
                ]
            );
        }
        for bad in ["id.example", "https://id.example?x", ""] {
            assert!(Discovery::of(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn metadata_is_believed_of_its_own_issuer_and_host() {
        let mut discovery = Discovery::of("https://id.example/a").unwrap();
        let jwks_uri = |discovery: &Discovery, issuer: &str, uri: &str| {
            let text = format!(r#"{{"issuer":"{issuer}","jwks_uri":"{uri}","other":[1]}}"#);
            discovery.jwks_uri(text.as_bytes(), false).map(String::from)
        };
        let good = "https://id.example/a/keys";
        assert_eq!(
            jwks_uri(&discovery, "https://id.example/a", good).unwrap(),
            good
        );
        for issuer in [
            "https://id.example/a/",
            "https://id.example/A",
            "https://ID.example/a",
            "https://id.example:443/a",
            "https://id.example/%61",
            "https://id.example",
            "",
        ] {
            assert_eq!(
                jwks_uri(&discovery, issuer, good),
                Err(InvalidMetadata::OtherIssuer),
                "{issuer}"
            );
        }
        for uri in [
            "http://id.example/a/keys",
            "https://evil.example/keys",
            "https://id.example.evil.example/keys",
            "https://id.example:8443/a/keys",
            "https://user@id.example/keys",
            "https://id.example@evil.example/keys",
            "file:///etc/keys",
            "data:application/json,{}",
        ] {
            assert_eq!(
                jwks_uri(&discovery, "https://id.example/a", uri),
                Err(InvalidMetadata::UnacceptableJwksUri),
                "{uri}"
            );
        }
        discovery.hosts.push("keys.example".to_owned());
        assert!(jwks_uri(&discovery, "https://id.example/a", "https://keys.example/k").is_ok());
        for text in [
            "",
            "[]",
            "{}",
            r#"{"issuer":"https://id.example/a"}"#,
            r#"{"issuer":1,"jwks_uri":"x"}"#,
        ] {
            let found = discovery.jwks_uri(text.as_bytes(), false);
            assert_eq!(found, Err(InvalidMetadata::NotMetadata), "{text}");
        }
    }
}
