//! Scopes that a route asks for.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    challenge::{is_scope_token, with_parameter},
    error::ConfigError,
    rejection::{MissingScope, RejectionKind},
};

/// A requirement on a token's scope: all of some scope tokens, or any of them.
///
/// A scope token is one word of a scope
/// ([RFC 6749 §3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3)). They are compared whole
/// and case-sensitively: `read` is not satisfied by `read:data`, nor the other way round.
///
/// ```
/// use portcullis::ScopeRequirement;
///
/// let either = ScopeRequirement::any_of(["read:data", "admin:system"])?;
/// assert!(either.is_satisfied_by(["openid", "read:data"]));
/// assert!(!either.is_satisfied_by(["read"]));
/// # Ok::<(), portcullis::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ScopeRequirement {
    tokens: Vec<String>,
    /// What a caller who lacks them is told; made once, since it never changes.
    missing: Arc<MissingScope>,
}

impl ScopeRequirement {
    /// Every one of `tokens` is needed.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidScope`] if one of them is not a scope token of RFC 6749 §3.3 (a
    /// space is a common slip: write two tokens), or if there is none: a requirement that
    /// everybody meets protects nothing.
    pub fn all_of<T: Into<String>>(
        tokens: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        Self::new(tokens, true)
    }

    /// At least one of `tokens` is needed.
    ///
    /// # Errors
    ///
    /// As for [`all_of`](Self::all_of).
    pub fn any_of<T: Into<String>>(
        tokens: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        Self::new(tokens, false)
    }

    fn new<T: Into<String>>(
        tokens: impl IntoIterator<Item = T>,
        all: bool,
    ) -> Result<Self, ConfigError> {
        let tokens: Vec<String> = tokens.into_iter().map(Into::into).collect();
        if tokens.is_empty() {
            return Err(ConfigError::InvalidScope {
                found: String::new(),
            });
        }
        if let Some(bad) = tokens.iter().find(|token| !is_scope_token(token)) {
            return Err(ConfigError::InvalidScope { found: bad.clone() });
        }
        let scope = tokens.join(" ");
        let challenge = RejectionKind::ScopeInsufficient
            .challenge()
            .and_then(|challenge| with_parameter(&challenge, "scope", &scope))
            .ok_or_else(|| ConfigError::InvalidScope {
                found: scope.clone(),
            })?;
        let missing = Arc::new(MissingScope {
            challenge,
            scope,
            all,
        });
        Ok(Self { tokens, missing })
    }

    /// Whether a token with the scope tokens `granted` meets the requirement.
    #[must_use]
    pub fn is_satisfied_by<'t>(&self, granted: impl IntoIterator<Item = &'t str>) -> bool {
        let granted: Vec<_> = granted.into_iter().collect();
        let has = |wanted: &String| granted.contains(&wanted.as_str());
        if self.missing.all {
            self.tokens.iter().all(has)
        } else {
            self.tokens.iter().any(has)
        }
    }

    pub(crate) const fn missing(&self) -> &Arc<MissingScope> {
        &self.missing
    }
}

/// Which scopes include which others.
///
/// A token that was granted a scope is treated as if it had been granted those that it includes, and
/// those that they include. Nothing in OAuth says that one scope includes another, so by default none
/// does.
///
/// ```
/// use portcullis::ScopeHierarchy;
///
/// let hierarchy = ScopeHierarchy::new()
///     .includes("admin:system", ["write:data"])
///     .includes("write:data", ["read:data"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeHierarchy(BTreeMap<String, Vec<String>>);

impl ScopeHierarchy {
    /// Scopes that include nothing but themselves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `scope` also includes each of `others`.
    #[must_use]
    pub fn includes<S: Into<String>>(
        mut self,
        scope: impl Into<String>,
        others: impl IntoIterator<Item = S>,
    ) -> Self {
        let included = self.0.entry(scope.into()).or_default();
        included.extend(others.into_iter().map(Into::into));
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a scope includes at the next lower level.
    pub(crate) fn included_in(&self, scope: &str) -> &[String] {
        self.0.get(scope).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let all = self
            .0
            .iter()
            .flat_map(|(scope, others)| std::iter::once(scope).chain(others));
        match all.into_iter().find(|scope| !is_scope_token(scope)) {
            Some(bad) => Err(ConfigError::InvalidScopeHierarchy { found: bad.clone() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_and_any_differ() {
        let all = ScopeRequirement::all_of(["a", "b"]).unwrap();
        let any = ScopeRequirement::any_of(["a", "b"]).unwrap();
        assert!(all.is_satisfied_by(["b", "c", "a"]));
        assert!(!all.is_satisfied_by(["a"]));
        assert!(any.is_satisfied_by(["b"]));
        assert!(!any.is_satisfied_by([]));
    }

    #[test]
    fn what_is_no_scope_token_is_refused_when_the_route_is_built() {
        for bad in ["", "read write", "a\"b", "a\\b", "é", "a\n"] {
            assert!(
                ScopeRequirement::all_of([bad]).is_err(),
                "{bad:?} was taken"
            );
        }
        assert!(ScopeRequirement::all_of(Vec::<String>::new()).is_err());
        assert!(ScopeRequirement::any_of(Vec::<String>::new()).is_err());
    }
}
