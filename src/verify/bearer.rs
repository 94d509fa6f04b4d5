//! The token out of the headers (RFC 6750 §2.1): one header, one scheme, one token.

use http::{HeaderMap, HeaderName, header::AUTHORIZATION};

use crate::rejection::RejectionKind;

/// What follows the scheme `Bearer`. No other place than the `Authorization` header is looked at.
///
/// That it is one token is left to be [checked](is_token68) where it does not parse as one: what
/// parses is.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Result<&[u8], RejectionKind> {
    let value = headers
        .get(AUTHORIZATION)
        .ok_or(RejectionKind::TokenMissing)?;
    let has_repeated = headers.len() > headers.keys_len();
    if has_repeated && headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        return Err(RejectionKind::RequestMalformed);
    }
    let bytes = value.as_bytes();
    // How nearly everybody writes it.
    if let Some(rest) = bytes.strip_prefix(b"Bearer ")
        && !rest.starts_with(b" ")
    {
        return Ok(rest);
    }
    let end_of_scheme = bytes.iter().take_while(|b| is_tchar(**b)).count();
    let (scheme, rest) = bytes.split_at(end_of_scheme);
    if scheme.is_empty() || !(rest.is_empty() || rest.starts_with(b" ")) {
        return Err(RejectionKind::RequestMalformed);
    }
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return Err(match value.to_str() {
            Ok(_) => RejectionKind::TokenMissing,
            Err(_) => RejectionKind::RequestMalformed,
        });
    }
    let spaces = rest.iter().take_while(|b| **b == b' ').count();
    Ok(&rest[spaces..])
}

/// The token that a header of its own has, as it is.
pub(crate) fn token_of_header<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<&'h [u8], RejectionKind> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Err(RejectionKind::TokenMissing),
        (Some(value), None) => Ok(value.as_bytes()),
        (Some(_), Some(_)) => Err(RejectionKind::RequestMalformed),
    }
}

/// `token68 = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 9110 §11.2).
pub(crate) fn is_token68(bytes: &[u8]) -> bool {
    let padding = bytes.iter().rev().take_while(|b| **b == b'=').count();
    let unpadded = &bytes[..bytes.len() - padding];
    // Without an early end, so that many bytes are looked at in one go.
    let is_allowed = |b: u8| {
        b.is_ascii_alphanumeric()
            | matches!(b, b'-' | b'.' | b'/')
            | matches!(b, b'_' | b'~' | b'+')
    };
    !unpadded.is_empty() && unpadded.iter().fold(true, |all, b| all & is_allowed(*b))
}

/// `tchar` (RFC 9110 §5.6.2), of which a scheme is made.
fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn extract(values: &[&[u8]]) -> Result<String, RejectionKind> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        let token = bearer_token(&headers)?;
        if !is_token68(token) {
            return Err(RejectionKind::RequestMalformed);
        }
        Ok(String::from_utf8(token.to_vec()).unwrap())
    }

    #[test]
    fn the_scheme_is_case_insensitive_and_spaces_may_follow_it() {
        for value in [
            "Bearer a.b.c",
            "bearer a.b.c",
            "BEARER a.b.c",
            "bEaReR    a.b.c",
        ] {
            assert_eq!(
                extract(&[value.as_bytes()]).as_deref(),
                Ok("a.b.c"),
                "{value}"
            );
        }
        assert_eq!(extract(&[b"Bearer -._~+/=="]).as_deref(), Ok("-._~+/=="));
    }

    #[test]
    fn other_schemes_are_no_credentials_for_us() {
        for value in [
            "Basic dXNlcjpwYXNz",
            "DPoP a.b.c",
            "Bearers a.b.c",
            "Negotiate",
            "Digest username=\"x\"",
        ] {
            assert_eq!(
                extract(&[value.as_bytes()]),
                Err(RejectionKind::TokenMissing),
                "{value}"
            );
        }
        assert_eq!(extract(&[]), Err(RejectionKind::TokenMissing));
    }

    #[test]
    fn what_is_not_a_scheme_and_a_token_is_malformed() {
        let bad: [&[u8]; 14] = [
            b"",
            b"Bearer",
            b"Bearer ",
            b"Bearer\ta.b.c",
            b"Bearer \ta.b.c",
            b"Bearer a.b.c d",
            b"Bearer a.b.c, Bearer d.e.f",
            b"Bearer =",
            b"Bearer a=b",
            b"Bearer \"a.b.c\"",
            b"Bearer a.b.\xff",
            b"Basic \xe4",
            b" a.b.c",
            b"Bearer:a.b.c",
        ];
        for value in bad {
            assert_eq!(
                extract(&[value]),
                Err(RejectionKind::RequestMalformed),
                "{value:?}"
            );
        }
    }

    #[test]
    fn two_headers_are_refused_even_if_alike_or_of_another_scheme() {
        for pair in [[b"Bearer a", b"Bearer a"], [b"Bearer a", b"Basic bb"]] {
            assert_eq!(
                extract(&[pair[0], pair[1]]),
                Err(RejectionKind::RequestMalformed)
            );
        }
    }
}
