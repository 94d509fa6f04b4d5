//! The text of `WWW-Authenticate`; nothing else writes it.
//!
//! [RFC 6750 §3](https://www.rfc-editor.org/rfc/rfc6750#section-3): the scheme, then
//! comma-separated parameters, each at most once. Nothing from a request is ever in it: codes and
//! descriptions are fixed at compile time, and the scope is the operator's.

use http::HeaderValue;

/// The challenge of a row of the table of rejections, made at compile time.
macro_rules! challenge {
    (NONE, $description:literal) => {
        None
    };
    // RFC 6750 §3.1: a request without authentication information gets no error code, and the RFC
    // has no code for a refusal that another scope would not cure.
    (BARE, $description:literal) => {
        Some(const { http::HeaderValue::from_static("Bearer") })
    };
    (INVALID_REQUEST, $description:literal) => {
        $crate::challenge::challenge!(@ "invalid_request", $description)
    };
    (INVALID_TOKEN, $description:literal) => {
        $crate::challenge::challenge!(@ "invalid_token", $description)
    };
    (INSUFFICIENT_USER_AUTHENTICATION, $description:literal) => {
        $crate::challenge::challenge!(@ "insufficient_user_authentication", $description)
    };
    (INSUFFICIENT_SCOPE, $description:literal) => {
        $crate::challenge::challenge!(@ "insufficient_scope", $description)
    };
    (@ $error:literal, $description:literal) => {
        Some(const {
            http::HeaderValue::from_static(concat!(
                r#"Bearer error=""#, $error, r#"", error_description=""#, $description, r#"""#
            ))
        })
    };
}

pub(crate) use challenge;

/// A challenge that also says what is needed: the `scope`, or the `acr_values`. `None` if that cannot
/// be in a header.
pub(crate) fn with_parameter(
    challenge: &HeaderValue,
    name: &str,
    value: &str,
) -> Option<HeaderValue> {
    let text = challenge.to_str().ok()?;
    HeaderValue::try_from(format!(r#"{text}, {name}="{value}""#)).ok()
}

/// `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )` (RFC 6749 §3.3).
pub(crate) fn is_scope_token(token: &str) -> bool {
    !token.is_empty()
        && token
            .bytes()
            .all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_quoted_and_separated_by_commas() {
        let none: Option<HeaderValue> = challenge!(NONE, "x");
        assert_eq!(none, None);
        let bare: Option<HeaderValue> = challenge!(BARE, "x");
        assert_eq!(bare.unwrap(), "Bearer");
        let expired: Option<HeaderValue> = challenge!(INVALID_TOKEN, "the token has expired");
        assert_eq!(
            expired.unwrap(),
            r#"Bearer error="invalid_token", error_description="the token has expired""#
        );
        let scope: Option<HeaderValue> = challenge!(INSUFFICIENT_SCOPE, "more is needed");
        let scope = scope.unwrap();
        assert_eq!(
            with_parameter(&scope, "scope", "a:b c").unwrap(),
            r#"Bearer error="insufficient_scope", error_description="more is needed", scope="a:b c""#
        );
        assert_eq!(with_parameter(&scope, "scope", "a\nb"), None);
    }
}
