//! The text of `WWW-Authenticate`; nothing else writes it.
//!
//! [RFC 6750 §3](https://www.rfc-editor.org/rfc/rfc6750#section-3): the scheme, then
//! comma-separated parameters, each at most once. Every text is fixed at compile time but for the
//! scope, which comes from the operator's configuration. Nothing from a request is ever in it.

use http::HeaderValue;

use crate::rejection::{RejectionKind, Wire};

/// The challenge that goes with a rejection of this kind, if any does.
pub(crate) fn www_authenticate(kind: RejectionKind) -> Option<HeaderValue> {
    let Wire {
        challenge,
        description,
        ..
    } = kind.wire();
    let error = challenge?;
    if error.is_empty() {
        return Some(HeaderValue::from_static("Bearer"));
    }
    text(error, description, None)
}

/// The challenge of a route that needs `scope` (scope tokens, space-separated).
pub(crate) fn insufficient_scope(scope: &str) -> Option<HeaderValue> {
    let Wire {
        challenge,
        description,
        ..
    } = RejectionKind::ScopeInsufficient.wire();
    text(challenge?, description, Some(scope))
}

fn text(error: &str, description: &str, scope: Option<&str>) -> Option<HeaderValue> {
    let mut text = format!(r#"Bearer error="{error}", error_description="{description}""#);
    if let Some(scope) = scope {
        text.push_str(&format!(r#", scope="{scope}""#));
    }
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6750 §3: `error` and `error_description` hold %x20-21 / %x23-5B / %x5D-7E only.
    fn is_quotable(text: &str) -> bool {
        text.bytes()
            .all(|b| matches!(b, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E))
    }

    #[test]
    fn every_challenge_is_within_the_grammar() {
        for kind in RejectionKind::ALL {
            let wire = kind.wire();
            assert!(is_quotable(wire.description), "{kind:?}");
            assert!(wire.challenge.is_none_or(is_quotable), "{kind:?}");
            assert_eq!(
                www_authenticate(kind).is_some(),
                matches!(wire.status.as_u16(), 400 | 401 | 403),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn the_three_shapes_are_exact() {
        assert_eq!(
            www_authenticate(RejectionKind::TokenMissing).unwrap(),
            "Bearer"
        );
        assert_eq!(
            www_authenticate(RejectionKind::TokenExpired).unwrap(),
            r#"Bearer error="invalid_token", error_description="the token has expired""#
        );
        assert_eq!(
            insufficient_scope("read:data write:data").unwrap(),
            r#"Bearer error="insufficient_scope", error_description="the token lacks a scope that is needed here", scope="read:data write:data""#
        );
    }
}
