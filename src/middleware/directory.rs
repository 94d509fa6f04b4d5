//! Who is trusted at the moment.

use std::sync::Arc;

use crate::{
    audit::{Audit, Event, Trusted as TrustedEvent},
    jwks::{HttpClient, KeyCache},
    resource_server::ResourceServer,
    time::Clock,
    trusted::Trusted,
};

/// A policy, and the keys of every authorization server that it trusts.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) resource_server: ResourceServer,
    /// In the order of the policy's authorization servers.
    trusted: Vec<Arc<Trusted>>,
}

/// What it takes to get keys.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) clock: Clock,
    pub(crate) client: HttpClient,
    pub(crate) audit: Audit,
}

impl Directory {
    /// The directory for a policy. What `before` knows of the same authorization servers is kept.
    pub(crate) fn new(
        resource_server: ResourceServer,
        surroundings: &Surroundings,
        before: Option<&Self>,
    ) -> Self {
        let servers = resource_server.authorization_servers().iter();
        let leeway = resource_server.leeway();
        let trusted = servers.map(|server| {
            let known = before.and_then(|before| before.find(server.issuer()));
            if let Some(known) = known
                && *known.server == *server
                && known.leeway == leeway
            {
                return Arc::clone(known);
            }
            let server = Arc::new(server.clone());
            let keys = match known {
                Some(known) if known.server.has_keys_of(&server) => Arc::clone(&known.keys),
                _ => surroundings.keys_of(&server),
            };
            Arc::new(Trusted::new(server, leeway, keys))
        });
        Self {
            trusted: trusted.collect(),
            resource_server,
        }
    }

    /// Whoever is responsible for tokens of this issuer.
    pub(crate) fn route(&self, issuer: &str) -> Option<&Arc<Trusted>> {
        let (index, _) = self.resource_server.route(issuer)?;
        self.trusted.get(index)
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Arc<Trusted>> {
        self.trusted.iter()
    }

    /// Ends what `after`, which takes its place, does not go on with.
    pub(crate) fn retire(&self, after: &Self) {
        for old in &self.trusted {
            let new = after.find(old.server.issuer());
            if new.is_none_or(|new| !Arc::ptr_eq(new, old)) {
                old.replace();
            }
            if new.is_none_or(|new| !Arc::ptr_eq(&new.keys, &old.keys)) {
                old.keys.retire();
            }
        }
    }

    /// By the issuer as it is configured, which is the template of those that have one.
    fn find(&self, issuer: &str) -> Option<&Arc<Trusted>> {
        self.route(issuer)
            .into_iter()
            .chain(&self.trusted)
            .find(|trusted| trusted.server.issuer() == issuer)
    }
}

impl Surroundings {
    fn keys_of(&self, server: &Arc<crate::AuthorizationServer>) -> Arc<KeyCache> {
        if self.audit.is_on()
            && let Ok(source) = &server.keys
        {
            self.audit.record(&Event::Trusted(TrustedEvent {
                issuer: server.issuer(),
                keys: &source.to_string(),
            }));
        }
        Arc::new(KeyCache::new(
            Arc::clone(server),
            self.clock.clone(),
            self.client.clone(),
            self.audit.clone(),
        ))
    }
}
