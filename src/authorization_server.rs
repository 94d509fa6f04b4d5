//! What is trusted of one authorization server.

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

use url::Url;

use crate::{
    algorithm::Algorithm,
    claim::{ClaimPath, ClaimRule, ClaimValue, Demand, ListClaim},
    error::{ConfigError, without_userinfo},
    introspection::Introspection,
    issuer_template::Tenants,
    jwks_policy::JwksPolicy,
    key_source::{Discovery, KeySource, problem_of_url},
    rejection::{MissingAuthentication, Rejection, RejectionKind},
    role::RoleMapping,
    scope::ScopeHierarchy,
};

/// An authorization server whose access tokens are accepted, and the policy for them.
///
/// Start with a preset, such as [`okta_custom`](Self::okta_custom), [`auth0`](Self::auth0) or
/// [`entra`](Self::entra); with [`discover`](Self::discover) for any that publishes its metadata;
/// or with [`with_issuer`](Self::with_issuer). Then say which audience its tokens must carry. Without
/// an audience there is no `AuthorizationServer`, and the code does not compile:
///
/// ```compile_fail
/// use portcullis::{AuthorizationServer, ResourceServer};
///
/// let okta = AuthorizationServer::okta_custom("company.okta.com", "default");
/// ResourceServer::builder().trust(okta).build();
/// ```
///
/// ```
/// use portcullis::{AuthorizationServer, ResourceServer, Role, RoleMapping};
///
/// let okta = AuthorizationServer::okta_custom("company.okta.com", "default")
///     .audience("api://orders")
///     .roles(RoleMapping::new().grant(Role::Admin, ["OrderAdmins"]));
/// ResourceServer::builder().trust(okta).build()?;
/// # Ok::<(), portcullis::ConfigError>(())
/// ```
///
/// A mistake in an argument, such as a placeholder domain, is reported by
/// [`build`](crate::ResourceServerBuilder::build).
///
/// # Defaults
///
/// Algorithm RS256 alone; the audience from `aud`; any client, from `client_id` or `cid`; scopes from
/// `scope` and `scp`; groups from the claim `groups`; no roles; the
/// [default key policy](JwksPolicy::default). A preset changes those of them that its product needs.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct AuthorizationServer {
    pub(crate) issuer: Arc<str>,
    pub(crate) aliases: Vec<Arc<str>>,
    pub(crate) tenants: Option<Tenants>,
    pub(crate) keys: Result<KeySource, ConfigError>,
    pub(crate) audience: Audience,
    pub(crate) audience_claim: String,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) client_claims: Vec<String>,
    /// Whether a token without a client is another kind of token.
    pub(crate) client_required: bool,
    pub(crate) allowed_clients: Option<HashSet<String>>,
    /// Whether the client has to be one of the audiences, if clients are not restricted otherwise.
    pub(crate) client_is_audience: bool,
    pub(crate) user_id_claim: Option<String>,
    /// Whether the client is the subject of a token that names none.
    pub(crate) subject_may_be_client: bool,
    pub(crate) scope_claims: Vec<String>,
    pub(crate) scope_hierarchy: ScopeHierarchy,
    pub(crate) groups_claims: Arc<[ListClaim]>,
    pub(crate) group_filter: Vec<String>,
    pub(crate) roles: RoleMapping,
    pub(crate) claim_rules: Vec<ClaimRule>,
    pub(crate) max_token_age: Option<Duration>,
    step_up: Option<Arc<MissingAuthentication>>,
    pub(crate) introspection: Option<Introspection>,
    pub(crate) jwks: JwksPolicy,
    pub(crate) at_jwt_required: bool,
    pub(crate) id_tokens_accepted: bool,
    pub(crate) plain_http_allowed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    AnyOf(Vec<String>),
    Any,
}

/// An authorization server that still lacks its audience.
#[derive(Clone, Debug)]
#[must_use = "say which audience its tokens must carry"]
pub struct WithoutAudience(AuthorizationServer);

impl WithoutAudience {
    pub(crate) fn new(issuer: impl Into<Arc<str>>, keys: Result<KeySource, ConfigError>) -> Self {
        Self(AuthorizationServer {
            issuer: issuer.into(),
            aliases: Vec::new(),
            tenants: None,
            keys,
            audience: Audience::AnyOf(Vec::new()),
            audience_claim: "aud".to_owned(),
            algorithms: vec![Algorithm::Rs256],
            client_claims: names(["client_id", "cid"]),
            client_required: false,
            allowed_clients: None,
            client_is_audience: false,
            user_id_claim: Some("uid".to_owned()),
            subject_may_be_client: false,
            scope_claims: names(["scope", "scp"]),
            scope_hierarchy: ScopeHierarchy::default(),
            groups_claims: Arc::new([ListClaim::strings("groups")]),
            group_filter: Vec::new(),
            roles: RoleMapping::new(),
            claim_rules: Vec::new(),
            max_token_age: None,
            step_up: None,
            introspection: None,
            jwks: JwksPolicy::default(),
            at_jwt_required: false,
            id_tokens_accepted: false,
            plain_http_allowed: false,
        })
    }

    /// What a preset changes before the audience is known.
    pub(crate) fn with(
        self,
        change: impl FnOnce(AuthorizationServer) -> AuthorizationServer,
    ) -> Self {
        Self(change(self.0))
    }

    /// Tokens must be meant for `audience`: it must be the `aud` claim or among its values,
    /// compared exactly ([RFC 7519 §4.1.3](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.3)).
    pub fn audience(self, audience: impl Into<String>) -> AuthorizationServer {
        self.0.audience(audience)
    }

    /// Accepts tokens for any audience, or for none.
    ///
    /// # Security
    ///
    /// Every API that shares the authorization server can then replay the tokens it receives
    /// here. You owe another check that tells your tokens from theirs.
    pub fn dangerous_accept_any_audience(self) -> AuthorizationServer {
        AuthorizationServer {
            audience: Audience::Any,
            ..self.0
        }
    }
}

impl AuthorizationServer {
    /// An authorization server with this issuer, and its key set at this URL.
    ///
    /// `issuer` is compared with the `iss` claim byte for byte, so write it as the tokens carry
    /// it, with or without a trailing slash.
    pub fn with_issuer(issuer: impl Into<String>, jwks_uri: &str) -> WithoutAudience {
        WithoutAudience::new(issuer.into(), KeySource::uri(jwks_uri))
    }

    /// An authorization server with this issuer, whose metadata says where its key set is.
    ///
    /// `issuer` is compared with the `iss` claim, and with the `issuer` of the metadata, byte for
    /// byte. The metadata is asked for where
    /// [RFC 8414 §3](https://www.rfc-editor.org/rfc/rfc8414#section-3) and
    /// [OpenID Connect Discovery §4](https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig)
    /// say, in this order, until one is the issuer's metadata: `/.well-known/oauth-authorization-server` and
    /// `/.well-known/openid-configuration` in front of the issuer's path, and the latter behind it.
    /// It is asked for again with each fetch of keys, so that a `jwks_uri` that changes is followed;
    /// while it cannot be had, keys are fetched from where they were.
    ///
    /// Nothing else is taken from it: algorithms, for one, are [yours to say](Self::algorithms). Not
    /// used is metadata that names another issuer, is redirected, or has its `jwks_uri` on plain http
    /// or on another origin than the issuer's, unless that host is [allowed](Self::jwks_host).
    ///
    /// ```
    /// use portcullis::AuthorizationServer;
    ///
    /// let server = AuthorizationServer::discover("https://id.example/tenants/a").audience("api");
    /// ```
    pub fn discover(issuer: impl Into<String>) -> WithoutAudience {
        let issuer = issuer.into();
        let keys = Discovery::of(&issuer).map(KeySource::Discovery);
        WithoutAudience::new(issuer, keys)
    }

    /// Also accepts tokens for this audience; after
    /// [`dangerous_accept_any_audience`](WithoutAudience::dangerous_accept_any_audience), for this
    /// one alone.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        match &mut self.audience {
            Audience::AnyOf(audiences) => audiences.push(audience.into()),
            Audience::Any => self.audience = Audience::AnyOf(vec![audience.into()]),
        }
        self
    }

    /// Also accepts this issuer, under the same policy and keys: for an authorization server that
    /// is reached by several names, such as an Okta one with issuer mode *Dynamic*.
    pub fn issuer_alias(mut self, issuer: impl Into<String>) -> Self {
        self.aliases.push(issuer.into().into());
        self
    }

    /// Accepts these signature algorithms, instead of RS256 alone.
    ///
    /// A token's own `alg` only ever picks from this list. A key that names its algorithm is used
    /// for that one; a key that does not, for those of the list that fit its type.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms.clear();
        for algorithm in algorithms {
            if !self.algorithms.contains(&algorithm) {
                self.algorithms.push(algorithm);
            }
        }
        self
    }

    /// Accepts tokens that were issued to these clients only. By default, any client of the
    /// authorization server's will do.
    pub fn allowed_clients<C: Into<String>>(
        mut self,
        clients: impl IntoIterator<Item = C>,
    ) -> Self {
        self.allowed_clients = Some(clients.into_iter().map(Into::into).collect());
        self
    }

    /// Reads the client that a token was issued to from these claims, instead of `client_id` and
    /// `cid`. Each may be absent; those that are there must agree.
    pub fn client_claims<N: Into<String>>(mut self, claims: impl IntoIterator<Item = N>) -> Self {
        self.client_claims = names(claims);
        self
    }

    /// Reads the audience from this claim, instead of `aud`: for authorization servers that write
    /// none, as Cognito does.
    pub fn audience_claim(mut self, claim: impl Into<String>) -> Self {
        self.audience_claim = claim.into();
        self
    }

    /// Reads scopes from these claims, instead of `scope` and `scp`. Each may be a string, with
    /// spaces between the scope tokens, or an array of them.
    ///
    /// # Security
    ///
    /// A scope says what the *client* may do on behalf of the user. A claim that lists what the user
    /// may do, such as Auth0's `permissions`, says another thing; read here, it lets every client do
    /// all of it.
    pub fn scope_claims<N: Into<String>>(mut self, claims: impl IntoIterator<Item = N>) -> Self {
        self.scope_claims = names(claims);
        self
    }

    /// Which scopes include which others. By default, none does.
    pub fn scope_hierarchy(mut self, hierarchy: ScopeHierarchy) -> Self {
        self.scope_hierarchy = hierarchy;
        self
    }

    /// Reads groups from this claim, instead of `groups`: a name or a path, for an array of strings,
    /// or a [`ListClaim`] that says how they are written.
    pub fn groups_claim(self, claim: impl Into<ListClaim>) -> Self {
        self.groups_claims([claim])
    }

    /// Reads groups from each of these claims, instead of `groups`.
    pub fn groups_claims<C: Into<ListClaim>>(
        mut self,
        claims: impl IntoIterator<Item = C>,
    ) -> Self {
        self.groups_claims = claims.into_iter().map(Into::into).collect();
        self
    }

    /// Also reads groups from this claim.
    pub fn also_groups_claim(mut self, claim: impl Into<ListClaim>) -> Self {
        let claims = self.groups_claims.iter().cloned();
        self.groups_claims = claims.chain([claim.into()]).collect();
        self
    }

    /// Leaves out groups that fit none of these patterns, as if the token did not have them. A
    /// pattern is a name, or ends in `*` for whatever begins like it. By default, all are kept.
    pub fn group_filter<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        self.group_filter = names(patterns);
        self
    }

    /// Which groups of this authorization server grant which role. By default, none does.
    pub fn roles(mut self, roles: RoleMapping) -> Self {
        self.roles = roles;
        self
    }

    /// Refuses tokens without this claim, with `CLAIM_REJECTED`.
    pub fn require_claim(self, claim: impl Into<ClaimPath>) -> Self {
        self.rule(claim, Demand::Present, RejectionKind::ClaimRejected)
    }

    /// Refuses tokens in which this claim has none of these values, with `CLAIM_REJECTED`. Of an
    /// array, one of its values must be one of these.
    ///
    /// ```
    /// use portcullis::AuthorizationServer;
    ///
    /// let google = AuthorizationServer::google_id_tokens()
    ///     .audience("1234.apps.googleusercontent.com")
    ///     .require_claim_value("hd", ["company.example"])
    ///     .require_claim_value("email_verified", [true]);
    /// ```
    pub fn require_claim_value<V: Into<ClaimValue>>(
        self,
        claim: impl Into<ClaimPath>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.rule(claim, Demand::OneOf(values), RejectionKind::ClaimRejected)
    }

    /// Refuses tokens that have this claim, with `CLAIM_REJECTED`.
    pub fn forbid_claim(self, claim: impl Into<ClaimPath>) -> Self {
        self.rule(claim, Demand::Absent, RejectionKind::ClaimRejected)
    }

    /// A claim that tells the tokens that are accepted from others has this value; what else may tell an
    /// ID token is not looked at.
    pub(crate) fn told_by(self, claim: &str, value: &str) -> Self {
        let demand = Demand::OneOf(vec![value.into()]);
        let told = self.rule(claim, demand, RejectionKind::TokenTypeRejected);
        told.dangerous_accept_id_tokens()
    }

    /// The tokens that are accepted have a claim that others have not; what else may tell an ID token is
    /// not looked at.
    pub(crate) fn told_by_presence_of(self, claim: &str) -> Self {
        let told = self.rule(claim, Demand::Present, RejectionKind::TokenTypeRejected);
        told.dangerous_accept_id_tokens()
    }

    /// Access tokens name their client in one of these claims, and ID tokens do not.
    pub(crate) fn told_by_client<const N: usize>(mut self, claims: [&str; N]) -> Self {
        self.client_required = true;
        self.client_claims(claims)
    }

    /// Reads the id of the user from this claim, instead of `uid`.
    pub(crate) fn user_id_claim(mut self, claim: Option<&str>) -> Self {
        self.user_id_claim = claim.map(str::to_owned);
        self
    }

    /// Whoever asks for a token chooses its audience, so that it says nothing unless the client is ours
    /// as well.
    pub(crate) const fn client_is_audience(mut self) -> Self {
        self.client_is_audience = true;
        self
    }

    /// Tokens that a client obtained for itself have no subject: it is the client.
    pub(crate) const fn subject_may_be_client(mut self) -> Self {
        self.subject_may_be_client = true;
        self
    }

    pub(crate) fn tenants(mut self, tenants: Tenants) -> Self {
        self.tenants = Some(tenants);
        self
    }

    /// Requires the user to have signed in under one of these authentication contexts (`acr`).
    /// Asked for again, the new ones count. Others are refused with `STEP_UP_REQUIRED`, and a challenge that says which would do
    /// ([RFC 9470 §3](https://www.rfc-editor.org/rfc/rfc9470#section-3)).
    pub fn require_acr<V: Into<String>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        let values = names(values);
        self.claim_rules.retain(|rule| rule.path.names() != ["acr"]);
        self.step_up = Some(Arc::new(MissingAuthentication::new(&values)));
        let values = values.into_iter().map(ClaimValue::from).collect();
        self.rule("acr", Demand::OneOf(values), RejectionKind::StepUpRequired)
    }

    /// Requires one of these authentication methods (`amr`, [RFC 8176](https://www.rfc-editor.org/rfc/rfc8176)),
    /// such as `mfa`. Tokens without are refused with `STEP_UP_REQUIRED`.
    pub fn require_amr<V: Into<String>>(self, values: impl IntoIterator<Item = V>) -> Self {
        let values = names(values).into_iter().map(ClaimValue::from).collect();
        self.rule("amr", Demand::OneOf(values), RejectionKind::StepUpRequired)
    }

    pub(crate) fn rule(
        mut self,
        claim: impl Into<ClaimPath>,
        demand: Demand,
        otherwise: RejectionKind,
    ) -> Self {
        self.claim_rules.push(ClaimRule {
            path: claim.into(),
            demand,
            otherwise,
        });
        self
    }

    /// Refuses tokens that were issued longer ago than this, with `TOKEN_TOO_OLD`, though they have
    /// not expired; leeway counts. Tokens must then say when they were issued (`iat`).
    pub const fn max_token_age(mut self, age: Duration) -> Self {
        self.max_token_age = Some(age);
        self
    }

    /// Also accepts opaque tokens, which the authorization server is asked about. JWTs are still verified
    /// with its keys, unless [`also_for_jwts`](Introspection::also_for_jwts) says otherwise.
    ///
    /// What is asked of a token is asked of the answer. Of several authorization servers, opaque tokens
    /// can be one's only.
    #[cfg(feature = "introspection")]
    pub fn introspection(mut self, introspection: Introspection) -> Self {
        self.introspection = Some(introspection);
        self
    }

    /// An authorization server that has no keys to verify tokens with, and is asked about each.
    ///
    /// `issuer` is what the answer's `iss` must be, if it is there.
    #[cfg(feature = "introspection")]
    pub fn introspected(
        issuer: impl Into<String>,
        introspection: Introspection,
    ) -> WithoutAudience {
        WithoutAudience::new(issuer.into(), Ok(KeySource::Nowhere))
            .with(|server| server.introspection(introspection.also_for_jwts()))
    }

    /// How its keys are fetched, and how long they are used.
    pub fn jwks_policy(mut self, policy: JwksPolicy) -> Self {
        self.jwks = policy;
        self
    }

    /// Fetches its key set from this URL, wherever it would have been fetched from: for an
    /// authorization server that is reached inside of a network by another name than its issuer's.
    pub fn jwks_uri(mut self, jwks_uri: &str) -> Self {
        self.replace_keys(KeySource::uri(jwks_uri));
        self
    }

    /// Where the metadata says where the key set is: also believes that it is on this host, on any
    /// port. See [`discover`](Self::discover).
    pub fn jwks_host(mut self, host: impl Into<String>) -> Self {
        if let Ok(KeySource::Discovery(discovery)) = &mut self.keys {
            discovery.allow_host(host.into());
        }
        self
    }

    /// Takes its key set from this JWK Set, and fetches nothing.
    ///
    /// # Security
    ///
    /// The keys do not change: one that the authorization server withdraws is used until you do.
    pub fn jwks_json(mut self, jwks: impl Into<Vec<u8>>) -> Self {
        self.replace_keys(KeySource::json(jwks.into()));
        self
    }

    /// Reads its key set from this file, and fetches nothing. The file is looked at every ten seconds,
    /// and when a token names a key that is not in it. While it cannot be read, the keys from before
    /// are used, as long as [`stale_cap`](JwksPolicy::stale_cap) says. Replace it by renaming another
    /// over it, so that nobody reads a half.
    pub fn jwks_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.replace_keys(Ok(KeySource::File(path.into())));
        self
    }

    /// Reads its keys from the files in this directory that end in `.json`, each a JWK Set or a JWK,
    /// in the way of [`jwks_file`](Self::jwks_file): 100 files at most. Files whose names begin with a
    /// dot do not count. If one of them cannot be read, the keys from before are used.
    pub fn jwks_directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.replace_keys(Ok(KeySource::Directory(path.into())));
        self
    }

    /// A mistake that was made before stays the one that is reported.
    fn replace_keys(&mut self, keys: Result<KeySource, ConfigError>) {
        if self.keys.is_ok() || self.issuer_is_known() {
            self.keys = keys;
        }
    }

    fn issuer_is_known(&self) -> bool {
        !self.issuer.is_empty()
    }

    /// Requires the token type `at+jwt`
    /// ([RFC 9068 §4](https://www.rfc-editor.org/rfc/rfc9068#section-4)). By default `JWT` and no
    /// type are accepted as well, since most authorization servers write those.
    pub const fn require_at_jwt(mut self) -> Self {
        self.at_jwt_required = true;
        self
    }

    /// Also accepts ID tokens.
    ///
    /// # Security
    ///
    /// An ID token tells a client who signed in; it was not issued for an API, carries no scope,
    /// and is not guarded like an access token. Whoever obtains one from any of your clients'
    /// logs can then call this API.
    pub const fn dangerous_accept_id_tokens(mut self) -> Self {
        self.id_tokens_accepted = true;
        self
    }

    /// Fetches keys over plain HTTP from hosts other than this machine.
    ///
    /// # Security
    ///
    /// Whoever can change the traffic in between can sign tokens that are accepted here.
    pub const fn dangerous_allow_plain_http(mut self) -> Self {
        self.plain_http_allowed = true;
        self
    }

    /// The issuer, as configured.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Every issuer whose tokens this policy is for; of a template, the template.
    pub(crate) fn issuers(&self) -> impl Iterator<Item = &Arc<str>> {
        std::iter::once(&self.issuer).chain(&self.aliases)
    }

    /// Whether tokens of this issuer are its own.
    pub(crate) fn is_of(&self, issuer: &str) -> bool {
        match &self.tenants {
            Some(tenants) => tenants.of_issuer(issuer).is_some(),
            None => self.issuers().any(|own| **own == *issuer),
        }
    }

    /// Whether the keys that are fetched for one do for the other.
    pub(crate) fn has_keys_of(&self, other: &Self) -> bool {
        self.issuer == other.issuer
            && self.keys == other.keys
            && self.algorithms == other.algorithms
            && self.jwks == other.jwks
            && self.plain_http_allowed == other.plain_http_allowed
    }

    /// Whether it is asked about its JWTs, too.
    pub(crate) fn introspects_jwts(&self) -> bool {
        let introspection = self.introspection.as_ref();
        introspection.is_some_and(|introspection| introspection.is_for_jwts)
    }

    /// The rejection of this kind, with what would help.
    pub(crate) fn rejection(&self, kind: RejectionKind) -> Rejection {
        match &self.step_up {
            Some(missing) if kind == RejectionKind::StepUpRequired => {
                Rejection::step_up_required(Arc::clone(missing))
            }
            _ => kind.into(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let keys = self.keys.as_ref().map_err(Clone::clone)?;
        // First what others are made from.
        if let Some(tenants) = &self.tenants {
            tenants.check()?;
            if let Some(alias) = self.aliases.first() {
                return Err(ConfigError::InvalidIssuer {
                    found: without_userinfo(alias),
                    problem: "cannot be an alias here: the issuers of tenants are written in one way",
                });
            }
        }
        for issuer in self.issuers() {
            // As Google writes its own, now and then.
            if &*self.issuer == "https://accounts.google.com" && &**issuer == "accounts.google.com"
            {
                continue;
            }
            let problem = match Url::parse(&issuer.replace(['{', '}'], "")) {
                Err(_) => Some("is not a URL"),
                Ok(url) if url.query().is_some() => Some("has a query"),
                Ok(url) => problem_of_url(&url, self.plain_http_allowed),
            };
            if let Some(problem) = problem {
                return Err(ConfigError::InvalidIssuer {
                    found: without_userinfo(issuer),
                    problem,
                });
            }
        }
        keys.check(self.plain_http_allowed)?;
        let issuer = || self.issuer.to_string();
        if let Audience::AnyOf(audiences) = &self.audience
            && (audiences.is_empty() || audiences.iter().any(|audience| audience.trim().is_empty()))
        {
            return Err(ConfigError::EmptyAudience { issuer: issuer() });
        }
        let problem = if self.algorithms.is_empty() {
            Some("are none: write at least one, such as RS256")
        } else if self.algorithms.iter().any(|alg| !alg.is_supported()) {
            Some("include ES512, which needs the feature aws_lc_rs")
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(ConfigError::InvalidAlgorithms {
                issuer: issuer(),
                problem,
            });
        }
        if let Some(introspection) = &self.introspection {
            introspection.check()?;
        }
        self.check_claims()?;
        self.scope_hierarchy.check()?;
        if self.max_token_age == Some(Duration::ZERO) {
            let expected = "more than nothing";
            return Err(ConfigError::out_of_range(
                "max_token_age",
                Duration::ZERO,
                expected,
            ));
        }
        self.jwks.check()
    }

    fn check_claims(&self) -> Result<(), ConfigError> {
        let invalid = |setting| {
            Err(ConfigError::InvalidClaim {
                issuer: self.issuer.to_string(),
                setting,
            })
        };
        if self.audience_claim.is_empty() {
            return invalid("audience claim");
        }
        if self.client_claims.iter().any(String::is_empty) {
            return invalid("client claims");
        }
        if self.scope_claims.iter().any(String::is_empty) {
            return invalid("scope claims");
        }
        // Which claim granted a role is remembered in a byte.
        let is_sound = |claim: &ListClaim| claim.path.is_sound();
        if self.groups_claims.len() > 255 || !self.groups_claims.iter().all(is_sound) {
            return invalid("groups claim");
        }
        if self.group_filter.iter().any(String::is_empty) {
            return invalid("group filter");
        }
        for rule in &self.claim_rules {
            let asks_for_something = match &rule.demand {
                Demand::Present | Demand::Absent => true,
                Demand::OneOf(values) => !values.is_empty(),
            };
            if !rule.path.is_sound() || !asks_for_something {
                return invalid("required or forbidden claim");
            }
        }
        if self
            .step_up
            .as_ref()
            .is_some_and(|step_up| !step_up.is_sound())
        {
            return invalid("required acr");
        }
        Ok(())
    }
}

fn names<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Vec<String> {
    names.into_iter().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = "https://id.example/keys";

    fn problem(issuer: &str, jwks_uri: &str) -> Option<String> {
        AuthorizationServer::with_issuer(issuer, jwks_uri)
            .audience("api")
            .check()
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn https_is_needed_except_for_this_machine() {
        assert_eq!(problem("https://id.example", KEYS), None);
        for origin in ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"] {
            assert_eq!(problem(origin, &format!("{origin}/keys")), None, "{origin}");
        }
        for bad in [
            "http://id.example",
            "http://localhost.evil.example",
            "ftp://id.example",
            "id.example",
            "",
        ] {
            assert!(problem(bad, KEYS).is_some(), "issuer {bad:?} was taken");
            assert!(
                problem("https://id.example", bad).is_some(),
                "keys at {bad:?} were taken"
            );
        }
        let http =
            AuthorizationServer::with_issuer("http://id.internal", "http://id.internal/keys")
                .audience("api");
        assert!(http.clone().check().is_err());
        assert!(http.dangerous_allow_plain_http().check().is_ok());
    }

    #[test]
    fn what_protects_nothing_is_refused() {
        let server =
            || AuthorizationServer::with_issuer("https://id.example", KEYS).audience("api");
        assert!(server().audience("").check().is_err());
        assert!(server().algorithms([]).check().is_err());
        assert!(server().groups_claim("").check().is_err());
        assert!(server().groups_claim("/a/~2").check().is_err());
        assert!(server().audience_claim("").check().is_err());
        assert!(server().client_claims([""]).check().is_err());
        assert!(server().scope_claims([""]).check().is_err());
        assert!(server().group_filter([""]).check().is_err());
        assert!(server().require_claim("").check().is_err());
        assert!(
            server()
                .require_claim_value("hd", Vec::<String>::new())
                .check()
                .is_err()
        );
        assert!(server().require_acr(Vec::<String>::new()).check().is_err());
        assert!(server().require_acr(["a b"]).check().is_err());
        assert!(server().require_amr(Vec::<String>::new()).check().is_err());
        assert!(server().max_token_age(Duration::ZERO).check().is_err());
        assert!(server().jwks_json(*b"{}").check().is_err());
        assert!(server().jwks_json(*br#"{"keys":[]}"#).check().is_err());
        assert!(server().issuer_alias("id.example").check().is_err());
        assert!(problem("https://id.example?x=1", KEYS).is_some());
        assert!(problem("https://user@id.example", KEYS).is_some());
    }
}
