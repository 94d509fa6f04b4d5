//! Who is trusted at the moment.

use std::sync::Arc;

use crate::{
    audit::Audit,
    key_source::KeySource,
    resource_server::ResourceServer,
    surroundings::Surroundings,
    tenants::{Lookup, Tenants},
    time::Moment,
    trusted::Trusted,
};

/// A policy, and the keys of every authorization server that it trusts.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) resource_server: ResourceServer,
    /// In the order of the policy's authorization servers.
    trusted: Vec<Arc<Trusted>>,
    pub(crate) tenants: Option<Arc<Tenants>>,
}

impl Directory {
    /// The directory for a policy. What `before` knows of the same authorization servers is kept.
    pub(crate) fn new(
        resource_server: ResourceServer,
        surroundings: &Surroundings,
        before: Option<&Self>,
    ) -> Self {
        let leeway = resource_server.leeway();
        let servers = resource_server.authorization_servers().iter();
        let trusted = servers.map(|server| {
            let known = before.and_then(|before| before.find(server.issuer()));
            Trusted::after(known, server.clone(), None, leeway, surroundings)
        });
        let tenants = resource_server.tenancy().map(|tenancy| {
            let known = before.and_then(|before| before.tenants.as_ref());
            match known.filter(|known| known.is_for(tenancy)) {
                Some(known) => Arc::clone(known),
                None => Tenants::new(tenancy.clone(), leeway, surroundings.clone()),
            }
        });
        Self {
            trusted: trusted.collect(),
            tenants,
            resource_server,
        }
    }

    /// Tells the audit sinks of whom is trusted that was not `before`, and the other way round. To be
    /// called without a lock: sinks may do anything.
    pub(crate) fn announce(&self, audit: &Audit, before: Option<&Self>) {
        for gone in before.map_or(&[][..], |before| &before.trusted) {
            if self.find(gone.server.issuer()).is_none() {
                gone.announce_end(audit);
            }
        }
        for trusted in &self.trusted {
            let known = before.and_then(|before| before.find(trusted.server.issuer()));
            trusted.announce(known, audit);
        }
    }

    /// Whoever is responsible for tokens of this issuer, as far as is known without asking anybody.
    pub(crate) fn look_up(&self, now: Moment, issuer: &str) -> Lookup {
        match (self.route(issuer), &self.tenants) {
            (Some(trusted), _) => Lookup::Known(Arc::clone(trusted)),
            (None, Some(tenants)) => tenants.look_up(now, issuer),
            (None, None) => Lookup::Unknown,
        }
    }

    fn route(&self, issuer: &str) -> Option<&Arc<Trusted>> {
        let (index, _) = self.resource_server.route(issuer)?;
        self.trusted.get(index)
    }

    /// Whoever opaque tokens are from.
    pub(crate) fn of_opaque(&self) -> Option<&Arc<Trusted>> {
        self.trusted.get(self.resource_server.of_opaque()?)
    }

    /// Those that have keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Trusted>> {
        let has_keys = |trusted: &&Arc<Trusted>| trusted.server.keys != Ok(KeySource::Nowhere);
        self.trusted.iter().filter(has_keys)
    }

    /// Ends what `after`, which takes its place, does not go on with.
    pub(crate) fn retire(&self, after: &Self) {
        for old in &self.trusted {
            old.give_way(after.find(old.server.issuer()));
        }
        let Some(tenants) = &self.tenants else { return };
        match &after.tenants {
            // Those that are trusted by name from now on are no tenants any more.
            Some(same) if Arc::ptr_eq(same, tenants) => {
                tenants.forget_if(|issuer| after.route(issuer).is_some());
                tenants.set_leeway(after.resource_server.leeway());
            }
            _ => tenants.retire(),
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
