//! What a request needs of its token.

use crate::{
    access_token::AccessToken, error::ConfigError, rejection::Rejection, role::Role,
    scope::ScopeRequirement,
};

/// What a request needs of its token, beyond being valid: scopes, a role, or both.
///
/// ```
/// use portcullis::{Requirement, Role};
///
/// let any_valid_token = Requirement::token();
/// let readers = Requirement::all_scopes(["orders:read"])?;
/// let operators = Requirement::any_scope(["orders:write", "orders:admin"])?.and_role(Role::Write);
/// # Ok::<(), portcullis::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Requirement {
    scope: Option<ScopeRequirement>,
    role: Option<Role>,
}

impl Requirement {
    /// A valid token, and nothing else.
    pub const fn token() -> Self {
        Self {
            scope: None,
            role: None,
        }
    }

    /// Every one of these scopes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidScope`] if one is not a scope token of RFC 6749 §3.3, or there is
    /// none.
    pub fn all_scopes<T: Into<String>>(
        scopes: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        ScopeRequirement::all_of(scopes).map(Self::from)
    }

    /// At least one of these scopes.
    ///
    /// # Errors
    ///
    /// As for [`all_scopes`](Self::all_scopes).
    pub fn any_scope<T: Into<String>>(
        scopes: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        ScopeRequirement::any_of(scopes).map(Self::from)
    }

    /// This role, or a higher one.
    pub const fn role(at_least: Role) -> Self {
        Self::token().and_role(at_least)
    }

    /// This role, or a higher one, as well.
    pub const fn and_role(mut self, at_least: Role) -> Self {
        self.role = Some(at_least);
        self
    }

    /// Passes if the token has what is needed. Scopes are looked at first.
    ///
    /// # Errors
    ///
    /// As [`AccessToken::require_scope`] and [`AccessToken::require_role`].
    pub fn check(&self, token: &AccessToken) -> Result<(), Rejection> {
        if let Some(scope) = &self.scope {
            token.require_scope(scope)?;
        }
        self.role.map_or(Ok(()), |role| token.require_role(role))
    }
}

impl From<ScopeRequirement> for Requirement {
    fn from(scope: ScopeRequirement) -> Self {
        Self {
            scope: Some(scope),
            role: None,
        }
    }
}
