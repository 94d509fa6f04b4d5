//! Authorization servers that are not known when the policy is made: one for each tenant, found when
//! the first of its tokens comes.

use std::{error::Error, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use crate::{authorization_server::AuthorizationServer, error::ConfigError};

/// Knows which authorization server a tenant has.
///
/// Asked for issuers that no [trusted](crate::ResourceServerBuilder::trust) authorization server has.
/// What it answers is remembered for a while, as [`TenantPolicy`] says.
///
/// ```
/// use portcullis::{AuthorizationServer, ResourceServer, TenantPolicy, TenantResolver, TenantsUnavailable};
///
/// struct Tenants; // such as a pool of connections to a database
///
/// impl TenantResolver for Tenants {
///     async fn resolve(&self, issuer: &str) -> Result<Option<AuthorizationServer>, TenantsUnavailable> {
///         // Look the issuer up among the tenants' that you know.
///         let Some(tenant) = issuer.strip_prefix("https://id.example/tenants/") else {
///             return Ok(None);
///         };
///         let is_known = matches!(tenant, "a" | "b");
///         Ok(is_known.then(|| AuthorizationServer::discover(issuer).audience("api://orders")))
///     }
/// }
///
/// let resource_server = ResourceServer::builder()
///     .tenants(Tenants, TenantPolicy::default())
///     .build()?;
/// # Ok::<(), portcullis::ConfigError>(())
/// ```
///
/// # Security
///
/// `issuer` is what a token says that nobody has verified: whoever sends requests chooses it. Compare it
/// with what you know, and never take a URL from it that you do not know; answer `None` otherwise. What
/// you return must be the authorization server of that very issuer, or else it is not used.
pub trait TenantResolver: Send + Sync + 'static {
    /// The authorization server with exactly this issuer; `None` if it is not a tenant's.
    ///
    /// # Errors
    ///
    /// [`TenantsUnavailable`] if that cannot be told at the moment: requests then get 503, or go on under
    /// what was answered before.
    fn resolve(
        &self,
        issuer: &str,
    ) -> impl Future<Output = Result<Option<AuthorizationServer>, TenantsUnavailable>> + Send;
}

/// Whether an issuer is a tenant's cannot be told at the moment.
///
/// It says no more, since nothing of why is for the caller: log that where you make it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TenantsUnavailable;

impl TenantsUnavailable {
    /// The error.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl fmt::Display for TenantsUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tenants are not available")
    }
}

impl Error for TenantsUnavailable {}

/// What a resolver answered.
pub(crate) type Resolved = Result<Option<AuthorizationServer>, TenantsUnavailable>;

/// A resolver of any type.
pub(crate) trait AnyResolver: Send + Sync {
    fn resolve<'a>(
        &'a self,
        issuer: &'a str,
    ) -> Pin<Box<dyn Future<Output = Resolved> + Send + 'a>>;
}

impl<R: TenantResolver> AnyResolver for R {
    fn resolve<'a>(
        &'a self,
        issuer: &'a str,
    ) -> Pin<Box<dyn Future<Output = Resolved> + Send + 'a>> {
        Box::pin(TenantResolver::resolve(self, issuer))
    }
}

/// How tenants are found, and what is remembered of them.
#[derive(Clone)]
pub(crate) struct Tenancy {
    pub(crate) resolver: Arc<dyn AnyResolver>,
    pub(crate) policy: TenantPolicy,
}

impl Tenancy {
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.resolver, &other.resolver) && self.policy == other.policy
    }
}

impl fmt::Debug for Tenancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenancy")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// What is remembered of a [`TenantResolver`]'s answers, and how long.
///
/// ```
/// use std::time::Duration;
/// use portcullis::TenantPolicy;
///
/// let policy = TenantPolicy::default()
///     .max_tenants(50_000)
///     .trust_time(Duration::from_secs(60));
/// ```
///
/// # Security
///
/// Tokens of a tenant that the resolver does not know any more are refused after twice the
/// [`trust_time`](Self::trust_time) at the latest while the resolver answers (90 seconds after it failed,
/// if that is later), and after [`stale_cap`](Self::stale_cap) at the latest while it does not; at once
/// with [`forget_tenant`](crate::AuthenticateLayer::forget_tenant). What
/// [`end_streams`](crate::AuthenticateLayer::end_streams) watches is looked at each minute, and ends within
/// one of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantPolicy {
    pub(crate) max_tenants: u64,
    pub(crate) idle_time: Duration,
    pub(crate) trust_time: Duration,
    pub(crate) stale_cap: Duration,
    pub(crate) unknown_time: Duration,
    pub(crate) max_unknown: u64,
    pub(crate) deadline: Duration,
    pub(crate) max_resolving: usize,
}

impl Default for TenantPolicy {
    fn default() -> Self {
        Self {
            max_tenants: 10_000,
            idle_time: Duration::from_secs(3_600),
            trust_time: Duration::from_secs(300),
            stale_cap: Duration::from_secs(4 * 3_600),
            unknown_time: Duration::from_secs(30),
            max_unknown: 10_000,
            deadline: Duration::from_secs(3),
            max_resolving: 32,
        }
    }
}

impl TenantPolicy {
    crate::jwks_policy::setters! {
        /// About how many tenants are remembered, with their keys; of more, those that were not used for
        /// longest are forgotten. Default 10,000; 1 to 1,000,000.
        max_tenants: u64;
        /// After how long without a new token of theirs tenants are forgotten. Default 1 hour; 1 minute
        /// to 7 days.
        idle_time: Duration;
        /// How long an answer of the resolver is relied upon. It is asked again with the first request
        /// after that, which does not wait for the answer unless twice the time has passed. Default 5
        /// minutes; 1 second to 24 hours.
        trust_time: Duration;
        /// How long an answer is relied upon while the resolver fails. Default 4 hours; at most 7 days.
        stale_cap: Duration;
        /// How long it is remembered that an issuer is no tenant's. Default 30 seconds; at most 1 hour.
        unknown_time: Duration;
        /// Of how many issuers it is remembered that they are no tenant's. Default 10,000; at most
        /// 1,000,000.
        max_unknown: u64;
        /// How long the resolver may take, and how long a request waits for it. Default 3 seconds; at
        /// most 60.
        deadline: Duration;
        /// How many issuers the resolver is asked about at once; further ones wait for their turn. As many
        /// of those that are remembered as tenants and as many of others, so that tokens of made up
        /// issuers, of which each is asked about, keep nobody from learning that a tenant is one no
        /// more. Default 32; 1 to 1,000.
        max_resolving: usize;
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(3_600);
        const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
        let durations = [
            (
                "idle_time",
                self.idle_time,
                60 * SECOND,
                WEEK,
                "1 minute to 7 days",
            ),
            (
                "trust_time",
                self.trust_time,
                SECOND,
                24 * HOUR,
                "1 second to 24 hours",
            ),
            (
                "stale_cap",
                self.stale_cap,
                Duration::ZERO,
                WEEK,
                "at most 7 days",
            ),
            (
                "unknown_time",
                self.unknown_time,
                Duration::ZERO,
                HOUR,
                "at most 1 hour",
            ),
            (
                "deadline",
                self.deadline,
                SECOND / 10,
                60 * SECOND,
                "100 milliseconds to 60 seconds",
            ),
        ];
        for (setting, found, min, max, expected) in durations {
            if !(min..=max).contains(&found) {
                return Err(ConfigError::out_of_range(setting, found, expected));
            }
        }
        let numbers = [
            (
                "max_tenants",
                self.max_tenants,
                1,
                1_000_000,
                "1 to 1000000",
            ),
            (
                "max_unknown",
                self.max_unknown,
                0,
                1_000_000,
                "at most 1000000",
            ),
            (
                "max_resolving",
                self.max_resolving as u64,
                1,
                1_000,
                "1 to 1000",
            ),
        ];
        for (setting, found, min, max, expected) in numbers {
            if !(min..=max).contains(&found) {
                return Err(ConfigError::out_of_range(setting, found, expected));
            }
        }
        Ok(())
    }
}
