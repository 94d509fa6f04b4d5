//! The text of `WWW-Authenticate`; nothing else writes it.
//!
//! [RFC 6750 §3](https://www.rfc-editor.org/rfc/rfc6750#section-3): the scheme, then
//! comma-separated parameters, each at most once. Nothing from a request is ever in it: codes and
//! descriptions are fixed at compile time, and the scope is the operator's.

use http::HeaderValue;

/// A challenge without an error: nothing was wrong, something is missing.
pub(crate) const BARE: HeaderValue = HeaderValue::from_static("Bearer");

/// A challenge that says what was wrong. `None` if the texts cannot be in a header.
pub(crate) fn with_error(
    error: &str,
    description: &str,
    scope: Option<&str>,
) -> Option<HeaderValue> {
    let mut text = format!(r#"Bearer error="{error}", error_description="{description}""#);
    if let Some(scope) = scope {
        text.push_str(&format!(r#", scope="{scope}""#));
    }
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_quoted_and_separated_by_commas() {
        assert_eq!(
            with_error("invalid_token", "the token has expired", None).unwrap(),
            r#"Bearer error="invalid_token", error_description="the token has expired""#
        );
        assert_eq!(
            with_error("insufficient_scope", "more is needed", Some("a:b c")).unwrap(),
            r#"Bearer error="insufficient_scope", error_description="more is needed", scope="a:b c""#
        );
        assert_eq!(with_error("x", "a\nb", None), None);
    }
}
