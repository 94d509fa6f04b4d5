//! How a rejection looks to a gRPC client.
//!
//! gRPC answers are HTTP 200; what became of the call is in `grpc-status`, `grpc-message` and
//! `grpc-status-details-bin`. A refusal is *trailers-only*: they are in the response's headers, and
//! there is no body. See
//! [PROTOCOL-HTTP2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) and
//! [`google.rpc.Status`](https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto).

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request,
    header::{ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use crate::rejection::{Needed, Rejection};

/// Whose codes the `reason` of an `ErrorInfo` is one of.
const DOMAIN: &str = "portcullis";

/// What may stand in a `grpc-message` as it is: %x20-24 / %x26-7E.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// What a page of another origin must be allowed to read of an answer, to understand it.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "grpc-status, grpc-message, grpc-status-details-bin, www-authenticate",
);

/// How a request wants to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Http,
    /// With this content type.
    Grpc(&'static str),
    GrpcWeb(&'static str),
}

impl Form {
    /// By the content type of the request; gRPC calls are `POST`s, and what is not is never taken
    /// for one, so that no cache keeps a 200 for a path.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        if request.method() == Method::POST {
            Self::of_headers(request.headers())
        } else {
            Self::Http
        }
    }

    /// By the content type of a request or a response.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return Self::Http;
        };
        let value = value.as_bytes();
        let essence = value.split(|b| *b == b';').next().unwrap_or(value);
        let essence = essence.trim_ascii();
        // A content type that is not one of these, such as `application/grpc+json`, is answered with
        // its family's.
        const FAMILIES: [(&str, Form); 6] = [
            (
                "application/grpc-web-text+proto",
                Form::GrpcWeb("application/grpc-web-text+proto"),
            ),
            (
                "application/grpc-web-text",
                Form::GrpcWeb("application/grpc-web-text"),
            ),
            (
                "application/grpc-web+proto",
                Form::GrpcWeb("application/grpc-web+proto"),
            ),
            (
                "application/grpc-web",
                Form::GrpcWeb("application/grpc-web"),
            ),
            (
                "application/grpc+proto",
                Form::Grpc("application/grpc+proto"),
            ),
            ("application/grpc", Form::Grpc("application/grpc")),
        ];
        let begins = |name: &str| {
            let (start, rest) = essence.split_at_checked(name.len())?;
            let is_it = start.eq_ignore_ascii_case(name.as_bytes());
            (is_it && matches!(rest.first(), None | Some(b'+'))).then_some(())
        };
        FAMILIES
            .iter()
            .find(|(name, _)| begins(name).is_some())
            .map_or(Self::Http, |(_, form)| *form)
    }
}

/// The headers of a trailers-only answer; `None` if it is not to be one.
pub(crate) fn headers(rejection: &Rejection, form: Form) -> Option<HeaderMap> {
    let (content_type, exposed) = match form {
        Form::Http => return None,
        Form::Grpc(content_type) => (content_type, None),
        Form::GrpcWeb(content_type) => (content_type, Some(EXPOSED)),
    };
    let mut headers = trailers(rejection);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(exposed) = exposed {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    Some(headers)
}

/// What ends a call.
pub(crate) fn trailers(rejection: &Rejection) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(6);
    let code = rejection.kind().grpc_code();
    trailers.insert(
        const { HeaderName::from_static("grpc-status") },
        u16::from(code).into(),
    );
    let message = percent_encode(rejection.message().as_bytes(), ESCAPED).to_string();
    let details = base64_simd::STANDARD_NO_PAD.encode_to_string(details(rejection));
    for (name, value) in [
        (const { HeaderName::from_static("grpc-message") }, message),
        (
            const { HeaderName::from_static("grpc-status-details-bin") },
            details,
        ),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            trailers.insert(name, value);
        }
    }
    if let Some(challenge) = rejection.challenge() {
        trailers.insert(WWW_AUTHENTICATE, challenge);
    }
    trailers
}

/// A `google.rpc.Status` with an `ErrorInfo` and, where the time to wait is known, a `RetryInfo`.
pub(crate) fn details(rejection: &Rejection) -> Vec<u8> {
    let mut info = Vec::new();
    text(&mut info, 1, rejection.kind().as_str());
    text(&mut info, 2, DOMAIN);
    let needed = match rejection.needed() {
        Some(Needed::Scope(missing)) => Some(("scope", missing.scope.as_str())),
        Some(Needed::Role(role)) => Some(("role", role.as_str())),
        Some(Needed::Authentication(missing)) => Some(("acr_values", missing.acr_values.as_str())),
        None => None,
    };
    if let Some((key, value)) = needed {
        let mut entry = Vec::new();
        text(&mut entry, 1, key);
        text(&mut entry, 2, value);
        bytes(&mut info, 3, &entry);
    }

    let mut status = Vec::new();
    number(&mut status, 1, rejection.kind().grpc_code().into());
    text(&mut status, 2, &rejection.message());
    any(
        &mut status,
        "type.googleapis.com/google.rpc.ErrorInfo",
        &info,
    );
    if let Some(wait) = rejection.retry_after() {
        let (mut duration, mut retry) = (Vec::new(), Vec::new());
        number(&mut duration, 1, wait.as_secs());
        bytes(&mut retry, 1, &duration);
        any(
            &mut status,
            "type.googleapis.com/google.rpc.RetryInfo",
            &retry,
        );
    }
    status
}

/// One of the details of a `google.rpc.Status`, as a `google.protobuf.Any`.
fn any(out: &mut Vec<u8>, type_url: &str, value: &[u8]) {
    let mut any = Vec::new();
    text(&mut any, 1, type_url);
    bytes(&mut any, 2, value);
    bytes(out, 3, &any);
}

/// A field of the protobuf wire type VARINT.
fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn text(out: &mut Vec<u8>, field: u64, value: &str) {
    bytes(out, field, value.as_bytes());
}

/// A field of the protobuf wire type LEN.
fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form_of(method: Method, content_type: &str) -> Form {
        let request = Request::builder()
            .method(method)
            .header("content-type", content_type);
        Form::of(&request.body(()).unwrap())
    }

    #[test]
    fn a_call_is_known_by_its_content_type() {
        for (content_type, answered) in [
            ("application/grpc", "application/grpc"),
            ("application/grpc+proto", "application/grpc+proto"),
            ("Application/GRPC+Proto", "application/grpc+proto"),
            ("application/grpc;charset=utf-8", "application/grpc"),
            ("application/grpc ; x", "application/grpc"),
            ("application/grpc+json", "application/grpc"),
        ] {
            assert_eq!(form_of(Method::POST, content_type), Form::Grpc(answered));
        }
        for (content_type, answered) in [
            ("application/grpc-web", "application/grpc-web"),
            ("application/grpc-web+proto", "application/grpc-web+proto"),
            ("application/grpc-web+json", "application/grpc-web"),
            ("application/grpc-web-text", "application/grpc-web-text"),
            (
                "application/grpc-web-text+proto",
                "application/grpc-web-text+proto",
            ),
        ] {
            assert_eq!(form_of(Method::POST, content_type), Form::GrpcWeb(answered));
        }
        for content_type in [
            "",
            "application/json",
            "application/grpcx",
            "application/grpc-webx",
            "application/grp",
            "text/application/grpc",
        ] {
            assert_eq!(
                form_of(Method::POST, content_type),
                Form::Http,
                "{content_type}"
            );
        }
    }

    /// A shared cache may keep the 200 that answers a GET, whatever its content type.
    #[test]
    fn only_a_post_is_a_call() {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
            assert_eq!(form_of(method, "application/grpc"), Form::Http);
        }
    }

    #[test]
    fn the_message_is_percent_encoded() {
        let scope = crate::ScopeRequirement::any_of(["50%:off", "b"]).unwrap();
        let rejection = Rejection::scope_insufficient(scope.missing().clone());
        let trailers = trailers(&rejection);
        assert_eq!(
            trailers["grpc-message"],
            "the token lacks a scope that is needed here: one of 50%25:off b"
        );
        assert_eq!(trailers["grpc-status"], "7");
    }

    /// Against bytes that were put together by hand.
    #[test]
    fn details_are_a_google_rpc_status() {
        let rejection = Rejection::keys_unavailable(std::time::Duration::from_secs(300));
        let message = b"tokens cannot be verified at the moment";
        let info = [&b"\x0a\x10KEYS_UNAVAILABLE"[..], b"\x12\x0aportcullis"].concat();
        let info_any = [
            b"\x0a\x28type.googleapis.com/google.rpc.ErrorInfo\x12",
            &[info.len() as u8][..],
            &info,
        ]
        .concat();
        let retry_any =
            b"\x0a\x28type.googleapis.com/google.rpc.RetryInfo\x12\x05\x0a\x03\x08\xac\x02";
        let expected = [
            &[0x08, 14, 0x12, message.len() as u8][..],
            message,
            &[0x1a, info_any.len() as u8],
            &info_any,
            &[0x1a, retry_any.len() as u8],
            retry_any,
        ]
        .concat();
        assert_eq!(details(&rejection), expected);
        // Longer than 127 bytes: a length in two bytes.
        let long = "s".repeat(200);
        let scope = crate::ScopeRequirement::all_of([long]).unwrap();
        let details = details(&Rejection::scope_insufficient(scope.missing().clone()));
        assert!(details.windows(4).any(|w| w == b"\x12\xc8\x01s"));
    }
}
