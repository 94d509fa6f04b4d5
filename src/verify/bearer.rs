//! The token out of the headers (RFC 6750 §2.1): one header, one scheme, one token.

use http::{HeaderMap, header::AUTHORIZATION};

use crate::rejection::RejectionKind;

/// The bearer token of a request. No other place than the `Authorization` header is looked at.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Result<&str, RejectionKind> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(RejectionKind::TokenMissing)?;
    if values.next().is_some() {
        return Err(RejectionKind::RequestMalformed);
    }
    let text = value
        .to_str()
        .map_err(|_| RejectionKind::RequestMalformed)?;
    let end_of_scheme = text.bytes().take_while(|b| is_tchar(*b)).count();
    let (scheme, rest) = text.split_at(end_of_scheme);
    if scheme.is_empty() || !(rest.is_empty() || rest.starts_with(' ')) {
        return Err(RejectionKind::RequestMalformed);
    }
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(RejectionKind::TokenMissing);
    }
    let token = rest.trim_start_matches(' ');
    if is_token68(token) {
        Ok(token)
    } else {
        Err(RejectionKind::RequestMalformed)
    }
}

/// `token68 = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 9110 §11.2).
fn is_token68(text: &str) -> bool {
    let unpadded = text.trim_end_matches('=');
    !unpadded.is_empty()
        && unpadded
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
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
        bearer_token(&headers).map(str::to_owned)
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
