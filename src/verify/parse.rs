//! A compact JWS taken apart (RFC 7515 §7.1): bounded, strict, and believed in nothing.

use base64_simd::{AsOut, URL_SAFE_NO_PAD};
use memchr::{memchr, memchr_iter};
use smallvec::{Array, SmallVec};

use super::json::{Malformed, Members, Object};
use crate::{
    algorithm::Algorithm,
    rejection::{Rejection, RejectionKind},
};

/// Larger tokens are refused unread. Okta's have about 1 KiB.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1_024;

/// A token that was taken apart and not verified: nothing in it may be acted upon, other than to
/// look for the key that it claims to be signed with.
#[derive(Default)]
pub(crate) struct UnverifiedToken<'a> {
    /// Header and payload as they were sent, which is what was signed.
    pub(crate) signing_input: &'a [u8],
    /// Room for RSA with 2048 bits.
    pub(crate) signature: SmallVec<[u8; 256]>,
    /// `None` for whatever is not an asymmetric algorithm that we know.
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) kid: Option<SmallVec<[u8; 64]>>,
    pub(crate) is_at_jwt: bool,
    pub(crate) payload: String,
    pub(crate) members: Members,
}

impl From<Malformed> for RejectionKind {
    fn from(_: Malformed) -> Self {
        Self::TokenMalformed
    }
}

impl<'a> UnverifiedToken<'a> {
    /// In a box, since it is large and goes from hand to hand.
    pub(crate) fn parse(token: &'a [u8]) -> Result<Box<Self>, RejectionKind> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(RejectionKind::TokenMalformed);
        }
        let mut parsed = Box::<Self>::default();
        match parsed.fill(token) {
            Ok(()) => Ok(parsed),
            // Five parts are a JWE (RFC 7516 §7.1), which is nothing we could read.
            Err(_) if memchr_iter(b'.', token).count() == 4 => {
                Err(RejectionKind::TokenTypeRejected)
            }
            Err(kind) => Err(kind),
        }
    }

    fn fill(&mut self, token: &'a [u8]) -> Result<(), RejectionKind> {
        let (header, rest) = split_at_dot(token)?;
        // A further dot in the last part is nothing that decodes.
        let (payload, signature) = split_at_dot(rest)?;
        self.signing_input = &token[..header.len() + 1 + payload.len()];
        self.fill_header(header)?;
        self.payload = URL_SAFE_NO_PAD
            .decode_to_vec(payload)
            .ok()
            .and_then(|payload| String::from_utf8(payload).ok())
            .ok_or(RejectionKind::TokenMalformed)?;
        self.members.fill(&self.payload)?;
        decode(signature, &mut self.signature)
    }

    fn fill_header(&mut self, header: &[u8]) -> Result<(), RejectionKind> {
        let mut text = SmallVec::<[u8; 256]>::new();
        decode(header, &mut text)?;
        let text = std::str::from_utf8(&text).map_err(|_| RejectionKind::TokenMalformed)?;
        let members = Members::of(text)?;
        let header = Object::new(text, &members);
        self.algorithm = header
            .string("alg")?
            .ok_or(RejectionKind::TokenMalformed)?
            .parse()
            .ok();
        self.kid = header.string("kid")?.map(|kid| kid.as_bytes().into());
        // RFC 7515 §4.1.11: extensions that are critical and not understood; we understand none.
        // RFC 7797 §7: a JWT's payload is always encoded.
        if header.has("crit") || header.has("b64") {
            return Err(RejectionKind::TokenTypeRejected);
        }
        self.is_at_jwt = match header.string("typ")? {
            None => false,
            Some(typ) => match media_type(&typ) {
                Some(AcceptedType::AtJwt) => true,
                Some(AcceptedType::Jwt) => false,
                None => return Err(RejectionKind::TokenTypeRejected),
            },
        };
        Ok(())
    }

    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid
            .as_deref()
            .map(|kid| std::str::from_utf8(kid).unwrap_or_default())
    }

    /// A rejection that says whose the token is; for one whose signature is good.
    pub(crate) fn refused(&self, rejection: Rejection) -> Rejection {
        match self.claims().string("sub") {
            Ok(Some(subject)) => rejection.with_subject(&subject),
            _ => rejection,
        }
    }

    pub(crate) const fn claims(&self) -> Object<'_> {
        Object::new(self.payload.as_str(), &self.members)
    }
}

/// Whether the first of three parts is a JSON object, as that of a JWS is.
pub(crate) fn has_header(token: &[u8]) -> bool {
    let mut parts = token.split(|b| *b == b'.');
    let first = parts.next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode_to_vec(first).unwrap_or_default();
    parts.count() == 2 && header.trim_ascii_start().first() == Some(&b'{')
}

fn split_at_dot(text: &[u8]) -> Result<(&[u8], &[u8]), RejectionKind> {
    let dot = memchr(b'.', text).ok_or(RejectionKind::TokenMalformed)?;
    Ok((&text[..dot], &text[dot + 1..]))
}

enum AcceptedType {
    Jwt,
    AtJwt,
}

/// Explicit types are believed (RFC 8725 §3.11): whatever calls itself something else is something
/// else. `application/` may be left out (RFC 7515 §4.1.9).
fn media_type(typ: &str) -> Option<AcceptedType> {
    const PREFIX: &str = "application/";
    let subtype = match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, subtype)) if prefix.eq_ignore_ascii_case(PREFIX) => subtype,
        _ => typ,
    };
    if subtype.eq_ignore_ascii_case("jwt") {
        Some(AcceptedType::Jwt)
    } else if subtype.eq_ignore_ascii_case("at+jwt") {
        Some(AcceptedType::AtJwt)
    } else {
        None
    }
}

/// base64url without padding, in its one canonical form (RFC 7515 §2).
fn decode<A: Array<Item = u8>>(part: &[u8], bytes: &mut SmallVec<A>) -> Result<(), RejectionKind> {
    const ZEROS: [u8; 512] = [0; 512];
    let length = part.len() * 3 / 4;
    match ZEROS.get(..length) {
        Some(zeros) => bytes.extend_from_slice(zeros),
        None => bytes.resize(length, 0),
    }
    match URL_SAFE_NO_PAD.decode(part, bytes.as_mut_slice().as_out()) {
        Ok(decoded) if decoded.len() == length => Ok(()),
        _ => Err(RejectionKind::TokenMalformed),
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose};
    use proptest::prelude::*;

    use super::*;

    fn encode(bytes: impl AsRef<[u8]>) -> String {
        general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }

    fn kind(token: &str) -> Option<RejectionKind> {
        UnverifiedToken::parse(token.as_bytes()).err()
    }

    fn with_header(header: &str) -> String {
        format!("{}.{}.c2ln", encode(header), encode("{}"))
    }

    #[test]
    fn only_three_parts_are_a_token() {
        let (h, p) = (encode(r#"{"alg":"RS256"}"#), encode("{}"));
        assert_eq!(kind(&format!("{h}.{p}.c2ln")), None);
        for token in [
            "",
            "x",
            "..",
            &h,
            &format!("{h}.{p}"),
            &format!("{h}.{p}.c2ln.x"),
        ] {
            assert_eq!(kind(token), Some(RejectionKind::TokenMalformed), "{token}");
        }
        let jwe = format!("{h}.{p}.c2ln.x.y");
        assert_eq!(kind(&jwe), Some(RejectionKind::TokenTypeRejected));
        assert_eq!(
            kind(&format!("{jwe}.z")),
            Some(RejectionKind::TokenMalformed)
        );
    }

    #[test]
    fn base64_is_the_url_alphabet_unpadded_and_canonical() {
        let (h, p) = (encode(r#"{"alg":"RS256"}"#), encode("{}"));
        // "e30" is canonical for "{}"; "e31" decodes to the same bytes with stray bits.
        assert_eq!(p, "e30");
        for payload in ["e31", "e30=", "e3 0", "+/8", "{}", "e30\n"] {
            let token = format!("{h}.{payload}.c2ln");
            assert_eq!(
                kind(&token),
                Some(RejectionKind::TokenMalformed),
                "{payload}"
            );
        }
        assert_eq!(
            kind(&format!("{h}.{p}.c2l")),
            Some(RejectionKind::TokenMalformed)
        );
        assert_eq!(
            kind(&format!("{h}.{p}.c2lh=")),
            Some(RejectionKind::TokenMalformed)
        );
    }

    #[test]
    fn text_must_be_json_in_utf8() {
        let h = encode(r#"{"alg":"RS256"}"#);
        for payload in [
            &b"\xff"[..],
            b"{\"a\":\"\xc3\"}",
            b"\xef\xbb\xbf{}",
            b"",
            b"[]",
            b"{}x",
        ] {
            let token = format!("{h}.{}.c2ln", encode(payload));
            assert_eq!(
                kind(&token),
                Some(RejectionKind::TokenMalformed),
                "{payload:?}"
            );
        }
    }

    #[test]
    fn headers_are_read_strictly() {
        let malformed = [
            "{}",
            r#"{"alg":null}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"RS256","alg":"RS256"}"#,
            r#"{"alg":"RS256","kid":1}"#,
            r#"{"alg":"RS256","kid":null}"#,
            r#"{"alg":"RS256","typ":1}"#,
        ];
        for header in malformed {
            assert_eq!(
                kind(&with_header(header)),
                Some(RejectionKind::TokenMalformed),
                "{header}"
            );
        }
        let other_types = [
            r#"{"alg":"RS256","crit":["exp"]}"#,
            r#"{"alg":"RS256","crit":[]}"#,
            r#"{"alg":"RS256","b64":false}"#,
            r#"{"alg":"RS256","b64":true}"#,
            r#"{"alg":"RS256","typ":"dpop+jwt"}"#,
            r#"{"alg":"RS256","typ":"logout+jwt"}"#,
            r#"{"alg":"RS256","typ":"application/secevent+jwt"}"#,
            r#"{"alg":"RS256","typ":"application/okta-internal-at+jwt"}"#,
            r#"{"alg":"RS256","typ":"JOSE"}"#,
            r#"{"alg":"RS256","typ":""}"#,
        ];
        for header in other_types {
            assert_eq!(
                kind(&with_header(header)),
                Some(RejectionKind::TokenTypeRejected),
                "{header}"
            );
        }
        for header in [
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"RS256","typ":"JWT"}"#,
            r#"{"alg":"RS256","typ":"application/jwt"}"#,
            r#"{"alg":"RS256","typ":"AT+JWT"}"#,
            r#"{"alg":"RS256","jku":"https://evil.example","jwk":{},"x5u":"x","x5c":[]}"#,
        ] {
            assert_eq!(kind(&with_header(header)), None, "{header}");
        }
    }

    #[test]
    fn names_of_algorithms_that_are_not_accepted_become_none() {
        for name in [
            "none", "NONE", "HS256", "rs256", "RS256 ", "ESP256", "RSA-OAEP",
        ] {
            let token = with_header(&format!(r#"{{"alg":"{name}"}}"#));
            let parsed =
                UnverifiedToken::parse(token.as_bytes()).unwrap_or_else(|_| panic!("{name}"));
            assert_eq!(parsed.algorithm, None, "{name}");
        }
    }

    #[test]
    fn oversized_tokens_are_refused_unread() {
        let padding = "x".repeat(MAX_TOKEN_BYTES);
        let token = with_header(&format!(r#"{{"alg":"RS256","x":"{padding}"}}"#));
        assert_eq!(kind(&token), Some(RejectionKind::TokenMalformed));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Another decoder has the same opinion of every text.
        #[test]
        fn another_base64_decoder_agrees(
            text in prop_oneof!["[A-Za-z0-9_-]{0,90}", "[A-Za-z0-9_-]{0,90}[-_A-Za-z0-9+/=. é]{0,3}"],
        ) {
            let mut bytes = SmallVec::<[u8; 32]>::new();
            let ours = decode(text.as_bytes(), &mut bytes).ok().map(|()| bytes.to_vec());
            let theirs = general_purpose::URL_SAFE_NO_PAD.decode(&text).ok();
            prop_assert_eq!(&ours, &theirs);
            prop_assert_eq!(URL_SAFE_NO_PAD.decode_to_vec(&text).ok(), theirs);
        }
    }
}
