//! What a handler receives: the verified access token.

use std::{fmt, sync::Arc};

use http::Extensions;
use serde::de::Deserialize;

use crate::{
    claim::{ClaimPath, ListClaim},
    rejection::{Rejection, RejectionKind},
    role::Role,
    scope::ScopeRequirement,
    time::UnixTime,
};

/// A verified access token: who calls, on whose behalf, and what for.
///
/// One exists only where every check has passed; there is no other way to make one. It is found in
/// the request's extensions, or taken as an argument by axum handlers (feature `axum`), and is
/// cheap to clone. The token itself, as it was sent, is not in it: a handler that has to pass it on
/// finds it in the `Authorization` header, which is the one that was verified.
///
/// ```
/// use portcullis::{AccessToken, Rejection, Role, ScopeRequirement};
///
/// fn may_delete(token: &AccessToken) -> Result<(), Rejection> {
///     token.require_scope(&ScopeRequirement::all_of(["orders:delete"]).expect("a scope"))?;
///     token.require_role(Role::Write)
/// }
/// ```
#[derive(Clone)]
pub struct AccessToken(Arc<Verified>);

/// The claims of a token, after every check. They stay where they stand in its payload.
pub(crate) struct Verified {
    /// The payload; behind it what its strings say that are written with escapes.
    pub(crate) text: Box<str>,
    pub(crate) payload: Span,
    pub(crate) issuer: Span,
    pub(crate) subject: Span,
    pub(crate) client_id: Option<Span>,
    pub(crate) user_id: Option<Span>,
    pub(crate) token_id: Option<Span>,
    /// Scope tokens, and from `groups_from` on groups.
    pub(crate) lists: Box<[Span]>,
    pub(crate) groups_from: usize,
    pub(crate) groups_complete: bool,
    pub(crate) granted: Option<Granted>,
    /// Where groups were read from.
    pub(crate) groups_claims: Arc<[ListClaim]>,
    pub(crate) times: Times,
}

/// What a role was granted for.
pub(crate) struct Granted {
    pub(crate) role: Role,
    /// Which of the groups.
    pub(crate) group: u16,
    /// Which of the claims that groups are read from.
    pub(crate) claim: u8,
}

/// When a token is good, without leeway.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) not_before: Option<UnixTime>,
    pub(crate) issued_at: Option<UnixTime>,
    pub(crate) expires_at: UnixTime,
    /// When it was issued too long ago; `None` is never.
    pub(crate) too_old_at: Option<UnixTime>,
}

impl Times {
    /// When it is not accepted any more, leeway aside, whatever for.
    pub(crate) fn over_at(&self) -> UnixTime {
        match self.too_old_at {
            Some(too_old_at) => too_old_at.min(self.expires_at),
            None => self.expires_at,
        }
    }
}

/// Where a part of a text stands. Tokens are shorter than 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Option<Self> {
        Some(Self {
            start: start.try_into().ok()?,
            end: end.try_into().ok()?,
        })
    }

    /// For ends that are known to fit.
    #[inline]
    pub(crate) const fn truncated(start: usize, end: usize) -> Self {
        Self {
            start: start as u16,
            end: end as u16,
        }
    }

    #[inline]
    pub(crate) fn start(self) -> usize {
        self.start.into()
    }

    #[inline]
    pub(crate) fn end(self) -> usize {
        self.end.into()
    }

    #[inline]
    pub(crate) fn len(self) -> usize {
        self.end().saturating_sub(self.start())
    }

    /// The part; nothing if it is not one of this text.
    #[inline]
    pub(crate) fn of(self, text: &str) -> &str {
        text.get(self.start()..self.end()).unwrap_or_default()
    }
}

impl Verified {
    fn at(&self, span: Span) -> &str {
        span.of(&self.text)
    }

    pub(crate) fn payload(&self) -> &str {
        self.at(self.payload)
    }

    fn scopes(&self) -> &[Span] {
        self.lists.get(..self.groups_from).unwrap_or_default()
    }

    fn groups(&self) -> &[Span] {
        self.lists.get(self.groups_from..).unwrap_or_default()
    }
}

/// Marks a request that was let through without a token, in the optional mode.
#[derive(Clone, Copy)]
pub(crate) struct Anonymous;

impl AccessToken {
    pub(crate) fn new(verified: Verified) -> Self {
        Self(Arc::new(verified))
    }

    pub(crate) fn times(&self) -> &Times {
        &self.0.times
    }

    /// What it takes of the heap, without the two counts that are in front.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Verified>() + self.0.text.len() + size_of_val(&*self.0.lists)
    }

    /// The token that the [`AuthenticateLayer`](crate::AuthenticateLayer) left in a request's
    /// extensions.
    ///
    /// # Errors
    ///
    /// [`RejectionKind::TokenMissing`] if the request was let through without one, in the optional
    /// mode; [`RejectionKind::LayerMissing`] if there is no such layer outside.
    pub fn from_extensions(extensions: &Extensions) -> Result<&Self, Rejection> {
        extensions.get().ok_or_else(|| {
            let is_anonymous = extensions.get::<Anonymous>().is_some();
            Rejection::from(if is_anonymous {
                RejectionKind::TokenMissing
            } else {
                RejectionKind::LayerMissing
            })
        })
    }

    /// Leaves `admitted` in a request's extensions, in place of what may have been there.
    pub(crate) fn into_extensions(admitted: Option<Self>, extensions: &mut Extensions) {
        let role = admitted.as_ref().and_then(Self::role);
        let were_empty = extensions.is_empty();
        match admitted {
            Some(token) => {
                extensions.insert(token);
            }
            None => {
                extensions.remove::<Self>();
                extensions.insert(Anonymous);
            }
        }
        match role {
            Some(role) => {
                extensions.insert(role);
            }
            None if were_empty => {}
            None => {
                extensions.remove::<Role>();
            }
        }
    }

    /// Who the token is about (`sub`). Unique within its [issuer](Self::issuer) only. For a token
    /// that a client obtained for itself this names the client.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.0.at(self.0.subject)
    }

    /// Which authorization server issued it (`iss`).
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.0.at(self.0.issuer)
    }

    /// The client it was issued to: `client_id`, or the
    /// [claims](crate::AuthorizationServer::client_claims) that take its place.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.0.client_id.map(|span| self.0.at(span))
    }

    /// The id of the user, where it is not the [subject](Self::subject): Okta's `uid`, Entra's `oid`.
    /// Okta's is absent from tokens that a client obtained for itself; Entra's then names the client.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.0.user_id.map(|span| self.0.at(span))
    }

    /// The id of the token (`jti`).
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.0.token_id.map(|span| self.0.at(span))
    }

    /// The scope tokens that were granted, each once: `scope` and `scp`, or the
    /// [claims](crate::AuthorizationServer::scope_claims) that take their place; with those that the
    /// [hierarchy](crate::ScopeHierarchy) says they include.
    #[must_use]
    pub fn scopes(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.0.scopes().iter().map(|span| self.0.at(*span))
    }

    /// Whether this scope token was granted; compared exactly.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|granted| granted == scope)
    }

    /// The groups, from the [claims](crate::AuthorizationServer::groups_claims) that the authorization
    /// server is configured with. They may not be [all](Self::groups_complete).
    #[must_use]
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.0.groups().iter().map(|span| self.0.at(*span))
    }

    /// Whether the token names all groups of its user. `false` if it says that they stand elsewhere:
    /// Microsoft Entra leaves out groups where there are more than 200, with `_claim_names`
    /// ([OpenID Connect Core §5.6.2](https://openid.net/specs/openid-connect-core-1_0.html#AggregatedDistributedClaims))
    /// or `hasgroups` in their place. Where they stand is not looked at.
    ///
    /// Check it before you take the absence of a group to mean anything.
    #[must_use]
    pub fn groups_complete(&self) -> bool {
        self.0.groups_complete
    }

    /// What the groups amount to; `None` is no role at all.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.0.granted.as_ref().map(|granted| granted.role)
    }

    /// Why the token has its [role](Self::role): which group granted it, and where that was found.
    ///
    /// ```
    /// use portcullis::AccessToken;
    ///
    /// fn explain(token: &AccessToken) -> String {
    ///     match token.role_grant() {
    ///         // "admin, for OrderAdmins in groups of https://company.okta.com/oauth2/default"
    ///         Some(grant) => format!(
    ///             "{}, for {} in {} of {}", grant.role, grant.group, grant.claim, grant.issuer
    ///         ),
    ///         None => "no role".to_owned(),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn role_grant(&self) -> Option<RoleGrant<'_>> {
        let granted = self.0.granted.as_ref()?;
        Some(RoleGrant {
            role: granted.role,
            issuer: self.issuer(),
            claim: &self.0.groups_claims.get(usize::from(granted.claim))?.path,
            group: self.0.at(*self.0.groups().get(usize::from(granted.group))?),
        })
    }

    /// When it was issued (`iat`).
    #[must_use]
    pub fn issued_at(&self) -> Option<UnixTime> {
        self.0.times.issued_at
    }

    /// When it expires (`exp`), without leeway. Requests are refused from then on, plus leeway; a
    /// stream that is already open is ended only if
    /// [`end_streams`](crate::AuthenticateLayer::end_streams) asks for it.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.0.times.expires_at
    }

    /// All claims, as a type of yours; borrowed strings are allowed.
    ///
    /// The claims were signed by the issuer. Only those named in the
    /// [list of checks](crate#what-is-checked) were checked beyond that.
    ///
    /// ```
    /// use portcullis::AccessToken;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Claims {
    ///     department: String,
    /// }
    ///
    /// fn department(token: &AccessToken) -> Option<String> {
    ///     token.claims_as::<Claims>().ok().map(|claims| claims.department)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// If the claims do not have the shape of `T`.
    pub fn claims_as<'t, T: Deserialize<'t>>(&'t self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.0.payload())
    }

    /// Passes if the token has the scope that is needed.
    ///
    /// # Errors
    ///
    /// [`RejectionKind::ScopeInsufficient`], which names the scope in its challenge.
    pub fn require_scope(&self, requirement: &ScopeRequirement) -> Result<(), Rejection> {
        if requirement.is_satisfied_by(self.scopes()) {
            Ok(())
        } else {
            let missing = Arc::clone(requirement.missing());
            Err(Rejection::scope_insufficient(missing))
        }
    }

    /// Passes if the token's role is at least `role`.
    ///
    /// # Errors
    ///
    /// [`RejectionKind::RoleInsufficient`]; or [`RejectionKind::GroupsIncomplete`], if a group that the
    /// token does not name could have granted the role.
    pub fn require_role(&self, role: Role) -> Result<(), Rejection> {
        if self.role() >= Some(role) {
            Ok(())
        } else if !self.groups_complete() {
            Err(RejectionKind::GroupsIncomplete.into())
        } else {
            Err(Rejection::role_insufficient(role))
        }
    }
}

/// What granted a token its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoleGrant<'t> {
    /// The role.
    pub role: Role,
    /// The authorization server's issuer, as in the token.
    pub issuer: &'t str,
    /// The claim that the group stands in.
    pub claim: &'t ClaimPath,
    /// The group that the [mapping](crate::RoleMapping) grants the role to.
    pub group: &'t str,
}

/// Who, whence and until when; neither the token nor its other claims.
impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .field("client_id", &self.client_id())
            .field("role", &self.role())
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}
