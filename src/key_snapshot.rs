//! Keys that outlive a process.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    authorization_server::AuthorizationServer, key_source::KeySource, time::UnixTime,
    verify::KeySet,
};

/// The keys of a layer's authorization servers, to start the next process with.
///
/// Made by [`AuthenticateLayer::key_snapshot`](crate::AuthenticateLayer::key_snapshot), and given to
/// [`AuthenticateLayerBuilder::key_snapshot`](crate::AuthenticateLayerBuilder::key_snapshot). In between
/// it is whatever [serde](https://serde.rs) makes of it, such as a file of JSON. It holds public keys,
/// and where and when they were fetched; nothing that is secret.
///
/// Keys from a snapshot are past their life, whatever their age: their servers are asked at once, and
/// they are used only until the answer is there, or while there is none; and never once they are older
/// than [`stale_cap`](crate::JwksPolicy::stale_cap), the time before the snapshot included. So a process
/// that starts during an outage serves as one that was there before.
///
/// ```
/// use portcullis::{AuthenticateLayer, AuthorizationServer, KeySnapshot, ResourceServer};
///
/// # fn snapshot() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = "keys.json";
/// # let policy = ResourceServer::builder()
/// #     .trust(AuthorizationServer::okta_custom("company.okta.com", "default").audience("api"))
/// #     .build()?;
/// let from_before = std::fs::read(path)
///     .ok()
///     .and_then(|json| serde_json::from_slice::<KeySnapshot>(&json).ok())
///     .unwrap_or_default();
/// let authenticate = AuthenticateLayer::builder(policy).key_snapshot(from_before).build();
/// // … and now and then, or at the end:
/// std::fs::write(path, serde_json::to_vec(&authenticate.key_snapshot())?)?;
/// # Ok(())
/// # }
/// ```
///
/// # Security
///
/// Whoever can change a snapshot can sign tokens that are accepted while the authorization server cannot
/// be reached, and for a moment at the start. Keep it where only the service writes.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KeySnapshot {
    pub(crate) key_sets: Vec<SavedKeys>,
}

/// The keys of one authorization server.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedKeys {
    issuer: String,
    /// Where they were fetched from; keys from elsewhere are not for it.
    source: String,
    /// In seconds since 1970.
    fetched_at: u64,
    keys: Vec<Value>,
}

impl KeySnapshot {
    /// Whether there are no keys in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.key_sets.is_empty()
    }

    /// The authorization servers whose keys are in it, by their issuers.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.key_sets.iter().map(|saved| saved.issuer.as_str())
    }

    /// What there is for an authorization server, and when it was fetched.
    pub(crate) fn keys_for(&self, server: &AuthorizationServer) -> Option<(KeySet, UnixTime)> {
        let source = source_of(server)?;
        let mut saved = self.key_sets.iter();
        let saved =
            saved.find(|saved| saved.issuer == server.issuer() && saved.source == source)?;
        let jwks = serde_json::json!({ "keys": saved.keys }).to_string();
        let keys = KeySet::from_json(jwks.as_bytes(), server).ok()?;
        Some((keys, UnixTime::from_secs(saved.fetched_at)))
    }
}

/// Where keys are that may be here again; given ones are not.
fn source_of(server: &AuthorizationServer) -> Option<String> {
    match server.keys.as_ref().ok()? {
        KeySource::Json(_) | KeySource::Nowhere => None,
        source => Some(source.to_string()),
    }
}

impl SavedKeys {
    pub(crate) fn new(
        server: &AuthorizationServer,
        keys: &KeySet,
        fetched_at: UnixTime,
    ) -> Option<Self> {
        Some(Self {
            issuer: server.issuer().to_owned(),
            source: source_of(server)?,
            fetched_at: fetched_at.as_secs(),
            keys: keys.to_jwks(),
        })
    }
}

impl fmt::Debug for KeySnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuers: Vec<_> = self.issuers().collect();
        f.debug_tuple("KeySnapshot").field(&issuers).finish()
    }
}
