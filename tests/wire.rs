//! The `axum` example, as a process of its own, over the wire: whatever a client or an
//! authorization server may do to it.
//!
//! Each row is a request and what must come of it. No row may end in a hang, a 500, or an answer
//! that repeats any of its input.
#![cfg(all(feature = "axum", feature = "test-util", feature = "tracing"))]

use std::{collections::BTreeMap, time::Duration};

use portcullis::{
    Algorithm,
    test_util::{Behaviour, SigningKey, TestAuthorizationServer, TestIssuer},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

#[path = "support/example.rs"]
mod example;

use example::{Example, command, in_time};

/// The example, running.
struct Api(Example);

impl Api {
    async fn start(okta: &TestAuthorizationServer, changes: &[(&str, &str)]) -> Self {
        Self(Example::start("axum", okta, changes).await)
    }

    async fn send(&self, head: &[u8]) -> Answer {
        in_time(async {
            let mut stream = TcpStream::connect(self.0.address()).await.unwrap();
            // The server may answer, and hang up, before it has read all of a large head.
            let _ = stream.write_all(head).await;
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
            Answer::read(&bytes)
        })
        .await
    }

    async fn request(&self, method: &str, path: &str, authorization: &[&[u8]]) -> Answer {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: api\r\nconnection: close\r\n").into_bytes();
        for value in authorization {
            head.extend_from_slice(b"authorization: ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        self.send(&head).await
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.request("GET", path, &[format!("Bearer {token}").as_bytes()])
            .await
    }

    async fn whoami(&self, token: &str) -> Answer {
        self.get("/whoami", token).await
    }
}

/// What came back over the wire.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    status: u16,
    challenge: Option<String>,
    retry_after: Option<u64>,
    text: String,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, _) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let header = |name: &str| {
            let mut values = head.lines().filter_map(|line| {
                let (found, value) = line.split_once(": ")?;
                found.eq_ignore_ascii_case(name).then(|| value.to_owned())
            });
            let first = values.next();
            assert_eq!(values.next(), None, "{name} twice");
            first
        };
        Self {
            status: head
                .get(9..12)
                .and_then(|status| status.parse().ok())
                .unwrap_or(0),
            challenge: header("www-authenticate"),
            retry_after: header("retry-after").map(|seconds| seconds.parse().unwrap()),
            text,
        }
    }

    fn code(&self) -> String {
        let body = self
            .text
            .split_once("\r\n\r\n")
            .map_or("", |(_, body)| body);
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        body["code"].as_str().unwrap_or("-").to_owned()
    }
}

/// Status, code, and the challenge's error.
fn expect(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(
        (answer.status, &*answer.code()),
        (status, code),
        "{what}: {answer:?}"
    );
    let error = match (status, code) {
        (400, _) => Some("Bearer error=\"invalid_request\", error_description=\""),
        (401, "TOKEN_MISSING") => Some("Bearer"),
        (401, _) => Some("Bearer error=\"invalid_token\", error_description=\""),
        (403, "SCOPE_INSUFFICIENT") => {
            Some("Bearer error=\"insufficient_scope\", error_description=\"")
        }
        (403, _) => Some("Bearer"),
        _ => None,
    };
    match (&answer.challenge, error) {
        (None, None) => {}
        (Some(challenge), Some("Bearer")) => assert_eq!(challenge, "Bearer", "{what}"),
        (Some(challenge), Some(start)) => {
            assert!(challenge.starts_with(start), "{what}: {challenge}")
        }
        (challenge, _) => panic!("{what}: {challenge:?}"),
    }
    assert_eq!(answer.retry_after.is_some(), status == 503, "{what}");
}

fn with_header(issuer: &TestIssuer, header: Value) -> String {
    issuer
        .key()
        .sign_with_header(&header, &issuer.claims(json!({})))
}

#[tokio::test]
async fn authorization_headers_of_every_sort() {
    let okta = TestAuthorizationServer::start().await;
    let issuer = okta.custom("default");
    let api = Api::start(&okta, &[]).await;
    let token = issuer.mint(json!({}));
    let value = |prefix: &str| format!("{prefix}{token}").into_bytes();
    let ok = |prefix: &str| (vec![value(prefix)], 200, "-");
    let missing = |text: &str| (vec![text.as_bytes().to_vec()], 401, "TOKEN_MISSING");
    let malformed = |bytes: &[u8]| (vec![bytes.to_vec()], 400, "REQUEST_MALFORMED");
    let mut rows = vec![
        (vec![], 401, "TOKEN_MISSING"),
        ok("Bearer "),
        ok("bearer "),
        ok("BEARER "),
        ok("bEaReR "),
        ok("Bearer  "),
        ok("Bearer     "),
        ok("   Bearer "),
        missing("Basic dXNlcjpwYXNz"),
        missing("basic"),
        missing("Digest username=\"x\""),
        missing("Negotiate YII="),
        missing("DPoP a.b.c"),
        missing("Token a.b.c"),
        missing("Bearers a.b.c"),
        missing("AWS4-HMAC-SHA256 Credential=x"),
        malformed(b""),
        malformed(b"Bearer"),
        malformed(b"Bearer "),
        malformed(b"Bearer    "),
        malformed(b"Bearer \xff\xfe"),
        malformed("Bearer tökèn".as_bytes()),
        malformed(b"\xc3\xa4 x"),
        malformed(b"Bearer a,b"),
        malformed(b"Bearer a b"),
        malformed(b"Bearer {}"),
        malformed(b"Bearer \"a.b.c\""),
        malformed(b"Bearer a=b"),
        malformed(b"Bearer ===="),
        malformed(b"Bearer: a.b.c"),
        malformed(b"\"Bearer\" a.b.c"),
        malformed(b"Bearer;a"),
        (vec![value("Bearer\t")], 400, "REQUEST_MALFORMED"),
        (vec![value("Bearer \t")], 400, "REQUEST_MALFORMED"),
        (vec![value("Bearer\x0b")], 0, "-"),
        (vec![value("Bearer Bearer ")], 400, "REQUEST_MALFORMED"),
        (
            vec![[value("Bearer "), b" x".to_vec()].concat()],
            400,
            "REQUEST_MALFORMED",
        ),
        (
            vec![[value("Bearer "), b", Basic eA==".to_vec()].concat()],
            400,
            "REQUEST_MALFORMED",
        ),
        (
            vec![value("Bearer "), value("Bearer ")],
            400,
            "REQUEST_MALFORMED",
        ),
        (
            vec![value("Bearer "), b"Basic eDp5".to_vec()],
            400,
            "REQUEST_MALFORMED",
        ),
        (
            vec![b"Basic eDp5".to_vec(), value("Bearer ")],
            400,
            "REQUEST_MALFORMED",
        ),
        (
            vec![b"Basic eDp5".to_vec(), b"Basic eDp5".to_vec()],
            400,
            "REQUEST_MALFORMED",
        ),
        (
            vec![value("Bearer "), b"".to_vec()],
            400,
            "REQUEST_MALFORMED",
        ),
        (vec![value("")], 401, "TOKEN_MISSING"),
    ];
    // Every single byte in front of, within and behind a token.
    for byte in (0_u8..=255).filter(|b| !b"\r\n".contains(b)) {
        let is_token68 = byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if !is_token68 {
            let within = [b"Bearer a", &[byte][..], b"b"].concat();
            // What the HTTP server itself refuses has no code of ours.
            let refused = byte < 0x20 && byte != b'\t' || byte == 0x7f;
            rows.push((
                vec![within],
                400,
                if refused { "-" } else { "REQUEST_MALFORMED" },
            ));
        }
    }
    let count = rows.len();
    for (values, status, code) in rows {
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let answer = api.request("GET", "/whoami", &values).await;
        let what = format!(
            "{:?}",
            values
                .iter()
                .map(|v| String::from_utf8_lossy(v))
                .collect::<Vec<_>>()
        );
        if code == "-" {
            assert!(matches!(answer.status, 200 | 400), "{what}: {answer:?}");
            assert!(status != 200 || answer.status == 200, "{what}: {answer:?}");
        } else {
            expect(&answer, status, code, &what);
        }
        if answer.status != 200 {
            assert!(!answer.text.contains(&token[..40]), "{what} was echoed");
        }
    }
    assert!(count > 200, "{count} rows");
}

#[tokio::test]
async fn tokens_anywhere_else_are_not_read() {
    let okta = TestAuthorizationServer::start().await;
    let api = Api::start(&okta, &[]).await;
    let token = okta.custom("default").mint(json!({}));
    let form = format!("access_token={token}");
    let length = form.len();
    for head in [
        format!(
            "GET /whoami?access_token={token} HTTP/1.1\r\nhost: api\r\nconnection: close\r\n\r\n"
        ),
        format!(
            "GET /whoami HTTP/1.1\r\nhost: api\r\ncookie: access_token={token}\r\nconnection: close\r\n\r\n"
        ),
        format!(
            "GET /whoami HTTP/1.1\r\nhost: api\r\nx-access-token: {token}\r\nconnection: close\r\n\r\n"
        ),
        format!(
            "GET /whoami HTTP/1.1\r\nhost: api\r\nproxy-authorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        ),
        format!(
            "POST /data HTTP/1.1\r\nhost: api\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{form}"
        ),
    ] {
        expect(
            &api.send(head.as_bytes()).await,
            401,
            "TOKEN_MISSING",
            &head[..40],
        );
    }
    // With the header, the query is nothing to us.
    let answer = api.get("/whoami?access_token=junk", &token).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn tokens_of_every_sort() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    let okta = TestAuthorizationServer::start().await;
    let issuer = okta.custom("default");
    let api = Api::start(&okta, &[("OKTA_AUTH_SERVER_ID", "default,other")]).await;
    let key = issuer.key();
    let other = okta.custom("other");
    let attacker = SigningKey::generate(Algorithm::Rs256);
    let now = issuer.claims(json!({}))["iat"].as_u64().unwrap();
    let good = issuer.mint(json!({}));
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let plain_header = json!({ "kid": key.kid(), "alg": "RS256" }).to_string();
    let plain_claims = issuer.claims(json!({})).to_string();
    let with_payload = |payload: &[u8]| key.sign_text(&plain_header, payload);
    let head = |header: Value| with_header(&issuer, header);
    let kid = key.kid();
    let replaced = |from: &str, to: &str| with_payload(plain_claims.replace(from, to).as_bytes());

    let mut rows: Vec<(String, u16, &str, String)> = Vec::new();
    let mut row = |what: &str, status, code: &'static str, token: String| {
        rows.push((what.to_owned(), status, code, token));
    };
    const M: &str = "TOKEN_MALFORMED";
    const T: &str = "TOKEN_TYPE_REJECTED";
    const A: &str = "ALGORITHM_REJECTED";
    const I: &str = "ISSUER_UNKNOWN";
    const K: &str = "KEY_UNKNOWN";
    const S: &str = "SIGNATURE_INVALID";
    const C: &str = "CLAIM_INVALID";
    row("good", 200, "-", good.clone());

    // Structure.
    for parts in 1..=2 {
        row("too few parts", 401, M, vec!["e30"; parts].join("."));
    }
    row("four parts", 401, M, format!("{good}.x"));
    row("five parts, a JWE", 401, T, format!("{good}.x.y"));
    row("six parts", 401, M, format!("{good}.x.y.z"));
    row("dots", 401, M, "..".to_owned());
    row("many dots", 401, M, ".".repeat(10_000));
    row("no header", 401, M, format!(".{payload}.{signature}"));
    row("no payload", 401, M, format!("{header}..{signature}"));
    row("no signature", 401, S, format!("{header}.{payload}."));
    row(
        "padding",
        401,
        M,
        format!("{header}.{payload}.{signature}=="),
    );
    row(
        "padding within, which no bearer token has",
        400,
        "REQUEST_MALFORMED",
        format!("{header}=.{payload}.{signature}"),
    );
    row(
        "plus and slash",
        401,
        M,
        format!("{header}.{payload}.+/{}", &signature[2..]),
    );
    row("stray bits", 401, M, {
        let last = signature.as_bytes()[signature.len() - 1];
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let place = alphabet.iter().position(|b| *b == last).unwrap();
        format!("{}{}", &good[..good.len() - 1], alphabet[place ^ 1] as char)
    });
    row(
        "an impossible length",
        401,
        M,
        format!("{header}.{payload}.{}", &signature[..signature.len() - 1]),
    );
    for size in [17 * 1_024, 64 * 1_024] {
        row(
            "too large",
            401,
            M,
            issuer.mint(json!({ "x": "y".repeat(size) })),
        );
    }
    row(
        "large, and not too large",
        200,
        "-",
        issuer.mint(json!({ "x": "y".repeat(10_000) })),
    );
    row(
        "huge header",
        401,
        M,
        key.sign_text(
            format!("{{\"alg\":\"RS256\",\"x\":\"{}\"}}", "y".repeat(20_000)),
            "{}",
        ),
    );

    // Text.
    for (what, text) in [
        ("empty", &b""[..]),
        ("null", b"null"),
        ("a string", b"\"x\""),
        ("an array", b"[{}]"),
        ("a number", b"1"),
        ("truncated", b"{\"iss\":"),
        ("not UTF-8", b"{\"iss\":\"\xff\"}"),
        ("an overlong form", b"{\"iss\":\"\xc0\xaf\"}"),
        ("a surrogate", b"{\"iss\":\"\xed\xa0\x80\"}"),
        ("a lone escape", b"{\"\\ud800\":1}"),
        ("single quotes", b"{'iss':'x'}"),
        ("a comment", b"{}//x"),
        ("a trailing comma", b"{\"a\":1,}"),
        ("a control character", b"{\"a\":\"\x01\"}"),
        ("a leading zero", b"{\"a\":01}"),
        ("NaN", b"{\"a\":NaN}"),
        ("UTF-16", b"\xff\xfe{\0}\0"),
        ("nothing but space", b"   "),
    ] {
        row(&format!("payload: {what}"), 401, M, with_payload(text));
        row(
            &format!("header: {what}"),
            401,
            M,
            key.sign_text(text, &plain_claims),
        );
    }
    let bom = ["\u{feff}", &plain_claims].concat();
    row("payload: a BOM", 401, M, with_payload(bom.as_bytes()));
    row(
        "header: a BOM",
        401,
        M,
        key.sign_text(format!("\u{feff}{plain_header}"), &plain_claims),
    );
    row(
        "payload: data behind",
        401,
        M,
        with_payload(format!("{plain_claims}x").as_bytes()),
    );
    row(
        "payload: two objects",
        401,
        M,
        with_payload(format!("{plain_claims}{plain_claims}").as_bytes()),
    );
    row(
        "header: data behind",
        401,
        M,
        key.sign_text(format!("{plain_header} {{}}"), &plain_claims),
    );
    row(
        "payload: space around",
        200,
        "-",
        with_payload(format!(" \n{plain_claims}\t ").as_bytes()),
    );
    for name in ["iss", "exp", "aud", "sub", "custom"] {
        let twice = format!("{{\"{name}\":1,{}", &plain_claims[1..])
            .replace("\"ver\":1", &format!("\"{name}\":1"));
        row(
            &format!("{name} twice"),
            401,
            M,
            with_payload(twice.as_bytes()),
        );
    }
    let escaped = format!("{{\"\\u0069ss\":\"x\",{}", &plain_claims[1..]);
    row(
        "iss twice, once escaped",
        401,
        M,
        with_payload(escaped.as_bytes()),
    );
    row(
        "alg twice",
        401,
        M,
        key.sign_text(
            format!("{{\"alg\":\"none\",{}", &plain_header[1..]),
            &plain_claims,
        ),
    );
    row(
        "names with escapes",
        200,
        "-",
        replaced("\"iss\"", "\"\\u0069ss\""),
    );
    for depth in [64, 200, 2_000] {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        row(
            "deep arrays",
            401,
            M,
            replaced("\"ver\":1", &format!("\"ver\":{nested}")),
        );
        let nested = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        row(
            "deep objects",
            401,
            M,
            replaced("\"ver\":1", &format!("\"ver\":{nested}")),
        );
    }
    row(
        "unclosed",
        401,
        M,
        with_payload("[".repeat(5_000).as_bytes()),
    );

    // Header.
    for alg in [
        "none", "None", "NONE", "nOnE", "HS256", "HS384", "HS512", "rs256", "Rs256", "RS256 ",
        "ES256", "PS256", "RS384", "EdDSA", "ESP256", "RSA1_5", "dir", "",
    ] {
        row(
            &format!("alg {alg:?}"),
            401,
            A,
            head(json!({ "kid": kid, "alg": alg })),
        );
    }
    for alg in [
        Value::Null,
        json!(1),
        json!(true),
        json!(["RS256"]),
        json!({ "alg": "RS256" }),
    ] {
        row(
            &format!("alg {alg}"),
            401,
            M,
            head(json!({ "kid": kid, "alg": alg })),
        );
    }
    row("no alg", 401, M, head(json!({ "kid": kid })));
    let unsigned = head(json!({ "alg": "none" }));
    row(
        "none, unsigned",
        401,
        A,
        format!("{}.", unsigned.rsplit_once('.').unwrap().0),
    );
    let hmac = head(json!({ "kid": kid, "alg": "HS256" }));
    row(
        "HS256 with the public key",
        401,
        A,
        format!("{}.{}", hmac.rsplit_once('.').unwrap().0, b64(&[7; 32])),
    );
    for crit in [
        json!(["exp"]),
        json!([]),
        json!("exp"),
        json!(["b64"]),
        Value::Null,
    ] {
        row(
            &format!("crit {crit}"),
            401,
            T,
            head(json!({ "kid": kid, "alg": "RS256", "crit": crit })),
        );
    }
    row(
        "b64",
        401,
        T,
        head(json!({ "kid": kid, "alg": "RS256", "b64": false, "crit": ["b64"] })),
    );
    row(
        "b64 alone",
        401,
        T,
        head(json!({ "kid": kid, "alg": "RS256", "b64": false })),
    );
    for typ in [
        "JWT",
        "jwt",
        "at+jwt",
        "AT+JWT",
        "application/at+jwt",
        "application/jwt",
    ] {
        row(
            &format!("typ {typ}"),
            200,
            "-",
            head(json!({ "kid": kid, "alg": "RS256", "typ": typ })),
        );
    }
    for typ in [
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "application/secevent+jwt",
        "id+jwt",
        "global-token-revocation+jwt",
        "oauth-id-jag+jwt",
        "token-introspection+jwt",
        "statuslist+jwt",
        "kb+jwt",
        "vc+sd-jwt",
        "JWE",
        "JOSE",
        "",
        "text/plain",
        "application/okta-internal-at+jwt",
    ] {
        row(
            &format!("typ {typ:?}"),
            401,
            T,
            head(json!({ "kid": kid, "alg": "RS256", "typ": typ })),
        );
    }
    for typ in [json!(1), json!(["JWT"]), Value::Null] {
        row(
            &format!("typ {typ}"),
            401,
            M,
            head(json!({ "kid": kid, "alg": "RS256", "typ": typ })),
        );
    }
    for kid in [json!(1), Value::Null, json!(["x"]), json!({}), json!(true)] {
        row(
            &format!("kid {kid}"),
            401,
            M,
            head(json!({ "kid": kid, "alg": "RS256" })),
        );
    }
    for kid in [
        "",
        "../../../etc/passwd",
        "' OR '1'='1",
        "x\u{0}",
        "http://evil.example/key",
        "${jndi:ldap://x}",
        "%00",
        "🔑",
        "\r\nset-cookie: x=1",
        "<script>",
    ] {
        row(
            &format!("kid {kid:?}"),
            401,
            K,
            head(json!({ "kid": kid, "alg": "RS256" })),
        );
    }
    row(
        "kid of 10 kB",
        401,
        K,
        head(json!({ "kid": "k".repeat(10_000), "alg": "RS256" })),
    );
    row("no kid, one key", 200, "-", head(json!({ "alg": "RS256" })));
    for extra in [
        "jku", "x5u", "x5c", "x5t", "jwk", "url", "nonce", "epk", "zip",
    ] {
        let claims = issuer.claims(json!({}));
        let header = json!({ "kid": kid, "alg": "RS256", extra: attacker.jwk() });
        row(
            &format!("{extra} of an attacker"),
            401,
            S,
            attacker.sign_with_header(&header, &claims),
        );
        row(
            &format!("{extra} beside a good signature"),
            200,
            "-",
            key.sign_with_header(&header, &claims),
        );
    }

    // Signatures.
    row(
        "another's key",
        401,
        S,
        attacker
            .clone()
            .with_kid(kid)
            .sign(&issuer.claims(json!({}))),
    );
    row("another payload", 401, S, {
        let eve = issuer.mint(json!({ "sub": "eve" }));
        format!("{}.{signature}", eve.rsplit_once('.').unwrap().0)
    });
    for length in [0, 1, 64, 255, 257, 512] {
        row(
            "a signature of zeros",
            401,
            S,
            format!("{header}.{payload}.{}", b64(&vec![0; length])),
        );
        row(
            "a signature of ones",
            401,
            S,
            format!("{header}.{payload}.{}", b64(&vec![255; length])),
        );
    }
    row(
        "this issuer's key, the other's token",
        401,
        S,
        key.with_kid(other.key().kid())
            .sign(&other.claims(json!({}))),
    );
    row("the other issuer's", 200, "-", other.mint(json!({})));

    // Issuers.
    let iss = issuer.issuer();
    for wrong in [
        format!("{iss}/"),
        format!("{iss}x"),
        iss[..iss.len() - 1].to_owned(),
        iss.to_uppercase(),
        iss.replace("127.0.0.1", "localhost"),
        iss.replace("http", "https"),
        format!(" {iss}"),
        format!("{iss} "),
        format!("{iss}#x"),
        format!("{iss}?x"),
        okta.origin().to_owned(),
        format!("{}/oauth2/unknown", okta.origin()),
        "https://evil.example".to_owned(),
        String::new(),
        "x".repeat(5_000),
        iss.replace("default", "defaul%74"),
    ] {
        row(
            &format!("iss {wrong:.60}"),
            401,
            I,
            issuer.mint(json!({ "iss": wrong })),
        );
    }
    row("no iss", 401, I, issuer.mint(json!({ "iss": null })));
    for wrong in [json!([iss]), json!(1), json!({ "iss": iss }), json!(true)] {
        row(
            &format!("iss {wrong}"),
            401,
            M,
            issuer.mint(json!({ "iss": wrong })),
        );
    }

    // Audiences.
    for aud in [
        json!("api://default"),
        json!(["api://default"]),
        json!(["x", "api://default", "y"]),
    ] {
        row(
            &format!("aud {aud}"),
            200,
            "-",
            issuer.mint(json!({ "aud": aud })),
        );
    }
    for aud in [
        json!("api://other"),
        json!(""),
        json!([]),
        json!([""]),
        json!(["x"]),
        json!("api://default/"),
        json!("api://defaul"),
        json!("api://defaultx"),
        json!("API://DEFAULT"),
        json!(" api://default"),
        json!("0oatestclient"),
        json!("*"),
    ] {
        row(
            &format!("aud {aud}"),
            401,
            "AUDIENCE_MISMATCH",
            issuer.mint(json!({ "aud": aud })),
        );
    }
    for aud in [
        json!(1),
        json!({}),
        json!(true),
        json!([1]),
        json!(["api://default", 1]),
        json!([["api://default"]]),
        json!({ "0": "api://default" }),
    ] {
        row(
            &format!("aud {aud}"),
            401,
            C,
            issuer.mint(json!({ "aud": aud })),
        );
    }
    row("no aud", 401, C, issuer.mint(json!({ "aud": null })));

    // Times. A few seconds of grace for a slow machine; the exact second is tested on a fake clock.
    for exp in [now + 30, now - 30, now + 3_600, 4_000_000_000] {
        row(
            &format!("exp {exp}"),
            200,
            "-",
            issuer.mint(json!({ "exp": exp })),
        );
    }
    for exp in [now - 61, now - 3_600, 1, 0] {
        row(
            &format!("exp {exp}"),
            401,
            "TOKEN_EXPIRED",
            issuer.mint(json!({ "exp": exp })),
        );
    }
    row(
        "exp -1",
        401,
        "TOKEN_EXPIRED",
        issuer.mint(json!({ "exp": -1 })),
    );
    row(
        "exp with a fraction",
        200,
        "-",
        issuer.mint(json!({ "exp": now as f64 + 100.5 })),
    );
    row(
        "exp long past, with a fraction",
        401,
        "TOKEN_EXPIRED",
        issuer.mint(json!({ "exp": now as f64 - 100.5 })),
    );
    let raw = |name: &str, text: &str| {
        let claims = issuer.claims(json!({ name: "RAW" })).to_string();
        key_sign(&issuer, &plain_header, &claims.replace("\"RAW\"", text))
    };
    for name in ["exp", "nbf", "iat"] {
        for text in [
            "1e400",
            "-1e400",
            "\"1999999999\"",
            "null",
            "true",
            "[]",
            "{}",
            "[1999999999]",
            "1e300",
            "\"\"",
        ] {
            row(&format!("{name} {text}"), 401, C, raw(name, text));
        }
        row(&format!("{name} Infinity"), 401, M, raw(name, "Infinity"));
        row(&format!("{name} 0x10"), 401, M, raw(name, "0x10"));
    }
    row("no exp", 401, C, issuer.mint(json!({ "exp": null })));
    for name in ["nbf", "iat"] {
        row(
            &format!("no {name}"),
            200,
            "-",
            issuer.mint(json!({ name: null })),
        );
        row(
            &format!("{name} soon"),
            200,
            "-",
            issuer.mint(json!({ name: now + 30 })),
        );
        row(
            &format!("{name} later"),
            401,
            "TOKEN_NOT_YET_VALID",
            issuer.mint(json!({ name: now + 300 })),
        );
        row(
            &format!("{name} long ago"),
            200,
            "-",
            issuer.mint(json!({ name: 0 })),
        );
    }

    // Other claims.
    for name in ["scp", "scope", "groups"] {
        for wrong in [
            json!(1),
            json!({}),
            json!(true),
            json!([1]),
            json!([null]),
            json!([["a"]]),
            json!(["a", 1]),
        ] {
            row(
                &format!("{name} {wrong}"),
                401,
                C,
                issuer.mint(json!({ name: wrong })),
            );
        }
        let null = raw(name, "null");
        row(&format!("{name} null"), 401, C, null);
    }
    row(
        "groups as a string",
        401,
        C,
        issuer.mint(json!({ "groups": "DataEngineers" })),
    );
    row(
        "no scope at all",
        200,
        "-",
        issuer.mint(json!({ "scp": null })),
    );
    row("no subject", 401, C, issuer.mint(json!({ "sub": null })));
    for name in ["sub", "cid", "client_id", "uid", "jti"] {
        for wrong in [json!(1), json!(["x"]), json!({}), json!(true)] {
            row(
                &format!("{name} {wrong}"),
                401,
                C,
                issuer.mint(json!({ name: wrong })),
            );
        }
    }
    for name in ["cid", "uid", "jti", "ver", "groups"] {
        row(
            &format!("no {name}"),
            200,
            "-",
            issuer.mint(json!({ name: null })),
        );
    }
    row(
        "RFC 9068's names",
        200,
        "-",
        issuer.mint(json!({ "cid": null, "client_id": "x", "scp": null, "scope": "a b" })),
    );

    // Other kinds of token.
    row(
        "an ID token",
        401,
        "AUDIENCE_MISMATCH",
        issuer.mint(json!({ "aud": "0oatestclient", "scp": null, "cid": null })),
    );
    row(
        "an ID token with our audience",
        401,
        T,
        issuer.mint(json!({ "nonce": "n", "scp": null, "cid": null })),
    );
    row(
        "an ID token with a hash",
        401,
        T,
        issuer.mint(json!({ "at_hash": "x" })),
    );
    row(
        "an ID token by its jti",
        401,
        T,
        issuer.mint(json!({ "jti": "ID.x" })),
    );
    row(
        "a logout token",
        401,
        T,
        issuer.mint(
            json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } }),
        ),
    );
    row(
        "a DPoP-bound token",
        401,
        "BINDING_MISSING",
        issuer.mint(json!({ "cnf": { "jkt": "x" } })),
    );
    row(
        "an mTLS-bound token",
        401,
        "BINDING_MISSING",
        issuer.mint(json!({ "cnf": { "x5t#S256": "x" } })),
    );

    let count = rows.len();
    let mut refused = 0;
    for (what, status, code, token) in rows {
        let answer = api.whoami(&token).await;
        if status == 200 {
            assert_eq!(answer.status, 200, "{what}: {answer:?}");
        } else {
            refused += 1;
            expect(&answer, status, code, &what);
            assert!(answer.text.len() < 600, "{what}: a long answer");
        }
    }
    assert!(
        count > 300 && refused > 250,
        "{count} rows, {refused} refused"
    );
    assert!(
        issuer.fetches() + other.fetches() <= 8,
        "{} fetches",
        issuer.fetches()
    );
    assert_eq!(api.request("GET", "/health", &[]).await.status, 200);
}

fn key_sign(issuer: &TestIssuer, header: &str, payload: &str) -> String {
    issuer.key().sign_text(header, payload)
}

#[tokio::test]
async fn the_routes_keep_their_contract() {
    let okta = TestAuthorizationServer::start().await;
    let issuer = okta.custom("default");
    let api = Api::start(&okta, &[]).await;
    for (scopes, groups, role, [read, write, admin]) in [
        (
            vec!["read:data", "write:data"],
            vec!["DataEngineers"],
            json!("admin"),
            [200, 200, 200],
        ),
        (
            vec!["read:data", "write:data"],
            vec!["ETLDevelopers"],
            json!("write"),
            [200, 200, 403],
        ),
        (
            vec!["read:data"],
            vec!["DataAnalysts"],
            json!("read"),
            [200, 403, 403],
        ),
        (
            vec!["write:data"],
            vec!["Everyone", "SystemAdmins", "DataAnalysts"],
            json!("admin"),
            [403, 200, 200],
        ),
        (
            vec!["openid"],
            vec!["Everyone"],
            Value::Null,
            [403, 403, 403],
        ),
        (vec![], vec![], Value::Null, [403, 403, 403]),
        (
            vec!["read:data write:data"],
            vec!["dataengineers"],
            Value::Null,
            [403, 403, 403],
        ),
        (
            vec!["read", "data", "read:", "READ:DATA"],
            vec![],
            Value::Null,
            [403, 403, 403],
        ),
    ] {
        let token = issuer.mint(json!({ "sub": "joe", "scp": scopes, "groups": groups }));
        let bearer = format!("Bearer {token}");
        let answer = api.whoami(&token).await;
        let body = answer.text.split_once("\r\n\r\n").unwrap().1;
        assert_eq!(
            serde_json::from_str::<Value>(body).unwrap(),
            json!({ "subject": "joe", "issuer": issuer.issuer(), "scopes": scopes, "groups": groups, "role": role })
        );
        for (method, path, status) in [
            ("GET", "/data", read),
            ("POST", "/data", write),
            ("GET", "/admin", admin),
        ] {
            let answer = api.request(method, path, &[bearer.as_bytes()]).await;
            let code = match (status, path) {
                (200, _) => "-",
                (_, "/admin") => "ROLE_INSUFFICIENT",
                _ => "SCOPE_INSUFFICIENT",
            };
            expect(
                &answer,
                status,
                code,
                &format!("{method} {path} {scopes:?} {groups:?}"),
            );
            if code == "SCOPE_INSUFFICIENT" {
                let scope = if method == "GET" {
                    "read:data"
                } else {
                    "write:data"
                };
                assert!(
                    answer
                        .challenge
                        .unwrap()
                        .ends_with(&format!(", scope=\"{scope}\""))
                );
            }
        }
        let by_string =
            issuer.mint(json!({ "scp": null, "scope": scopes.join(" "), "groups": groups }));
        let answer = api.get("/data", &by_string).await;
        let split = scopes
            .join(" ")
            .split(' ')
            .any(|scope| scope == "read:data");
        assert_eq!(answer.status, if split { 200 } else { 403 });
    }
    for (method, path, status) in [
        ("GET", "/health", 200),
        ("HEAD", "/health", 200),
        ("GET", "/nowhere", 404),
    ] {
        assert_eq!(
            api.request(method, path, &[]).await.status,
            status,
            "{method} {path}"
        );
        assert_eq!(
            api.request(method, path, &[b"Bearer junk"]).await.status,
            status
        );
    }
    for (method, path) in [
        ("GET", "/whoami"),
        ("GET", "/data"),
        ("POST", "/data"),
        ("GET", "/admin"),
        ("HEAD", "/whoami"),
    ] {
        let answer = api.request(method, path, &[]).await;
        assert_eq!(
            (answer.status, answer.challenge.as_deref()),
            (401, Some("Bearer")),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn http2_in_cleartext_is_spoken() {
    let okta = TestAuthorizationServer::start().await;
    let api = Api::start(&okta, &[]).await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let get = |path: &str| client.get(format!("http://{}{path}", api.0.address()));
    let token = okta.custom("default").mint(json!({}));
    let response = get("/whoami").bearer_auth(&token).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.version()),
        (200, http::Version::HTTP_2)
    );
    let response = get("/whoami").send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    let twice = get("/whoami")
        .bearer_auth(&token)
        .header("authorization", "Bearer x");
    assert_eq!(twice.send().await.unwrap().status(), 400);
    assert_eq!(get("/health").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_org_server_is_trusted_only_when_asked_for() {
    let okta = TestAuthorizationServer::start().await;
    let token = okta.org().mint(json!({ "aud": "0oaclient" }));
    let custom = okta.custom("default");
    let api = Api::start(&okta, &[("OKTA_CLIENT_ID", "0oaclient")]).await;
    expect(&api.whoami(&token).await, 401, "ISSUER_UNKNOWN", "off");
    let api = Api::start(
        &okta,
        &[
            ("OKTA_CLIENT_ID", "0oaclient"),
            ("OKTA_ALLOW_ORG_SERVER", "true"),
        ],
    )
    .await;
    assert_eq!(api.whoami(&token).await.status, 200);
    assert_eq!(api.whoami(&custom.mint(json!({}))).await.status, 200);
    // Each with its own audience.
    expect(
        &api.whoami(&custom.mint(json!({ "aud": "0oaclient" })))
            .await,
        401,
        "AUDIENCE_MISMATCH",
        "custom",
    );
    expect(
        &api.whoami(&okta.org().mint(json!({ "aud": "api://default" })))
            .await,
        401,
        "AUDIENCE_MISMATCH",
        "org",
    );
    // The client id is an audience and restricts no client.
    assert_eq!(
        api.whoami(&custom.mint(json!({ "cid": "another" })))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn settings_are_those_of_the_environment() {
    let okta = TestAuthorizationServer::start().await;
    let issuer = okta.custom("team");
    let api = Api::start(
        &okta,
        &[
            ("OKTA_AUTH_SERVER_ID", "team"),
            ("OKTA_GROUPS_CLAIM", "https://app/teams"),
            ("OKTA_ALLOWED_CLIENTS", "good, better"),
            ("CLOCK_LEEWAY", "0"),
        ],
    )
    .await;
    let token = issuer
        .mint(json!({ "cid": "better", "https://app/teams": ["DataEngineers"], "iat": null }));
    assert_eq!(api.get("/admin", &token).await.status, 200);
    let by_default_claim =
        issuer.mint(json!({ "cid": "good", "groups": ["DataEngineers"], "iat": null }));
    expect(
        &api.get("/admin", &by_default_claim).await,
        403,
        "ROLE_INSUFFICIENT",
        "groups",
    );
    expect(
        &api.whoami(&issuer.mint(json!({ "iat": null }))).await,
        401,
        "CLIENT_NOT_ALLOWED",
        "client",
    );
    let exp = issuer.claims(json!({}))["iat"].as_u64().unwrap() - 1;
    let just_expired = issuer.mint(json!({ "cid": "good", "exp": exp, "iat": null }));
    expect(
        &api.whoami(&just_expired).await,
        401,
        "TOKEN_EXPIRED",
        "no leeway",
    );
}

#[tokio::test]
async fn mistakes_in_the_environment_end_the_start_with_all_of_them() {
    let env = BTreeMap::from([
        ("AUTH_PROVIDERS", "octa"),
        ("OKTA_ORG_DOMAIN", "company-admin.okta.com"),
        ("OKTA_ALLOW_ORG_SERVER", "maybe"),
        ("JWKS_CACHE_TTL", "soon"),
    ]);
    let output = in_time(command("axum", &env).output()).await.unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    for part in [
        "AUTH_PROVIDERS is \"octa\"",
        "OKTA_ORG_DOMAIN",
        "company.okta.com",
        "OKTA_AUDIENCE is not set",
        "OKTA_ALLOW_ORG_SERVER is \"maybe\"",
        "JWKS_CACHE_TTL is \"soon\"",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[tokio::test]
async fn it_starts_and_stays_up_while_the_authorization_server_is_down() {
    for behaviour in [
        Behaviour::Down,
        Behaviour::Status(500),
        Behaviour::TooManyRequests(1),
        Behaviour::Body("<html>garbage</html>".to_owned()),
        Behaviour::Huge(10_000_000),
        Behaviour::Redirect("http://127.0.0.1:9/".to_owned()),
        Behaviour::Slow(Duration::from_secs(20)),
    ] {
        let okta = TestAuthorizationServer::start().await;
        let issuer = okta.custom("default");
        issuer.behave(behaviour.clone());
        let api = Api::start(&okta, &[]).await;
        let what = format!("{behaviour:?}");
        assert_eq!(
            api.request("GET", "/health", &[]).await.status,
            200,
            "{what}"
        );
        let token = issuer.mint(json!({}));
        expect(&api.whoami(&token).await, 503, "KEYS_UNAVAILABLE", &what);
        // What needs no keys is still decided.
        expect(&api.whoami("a.b.c").await, 401, "TOKEN_MALFORMED", &what);
        expect(
            &api.request("GET", "/whoami", &[]).await,
            401,
            "TOKEN_MISSING",
            &what,
        );
        issuer.behave(Behaviour::Normal);
        in_time(async {
            while api.whoami(&token).await.status != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_herd_a_rotation_and_a_flood() {
    let okta = TestAuthorizationServer::start().await;
    let issuer = okta.custom("default");
    issuer.behave(Behaviour::Slow(Duration::from_millis(300)));
    let api = std::sync::Arc::new(Api::start(&okta, &[]).await);
    let all = async |tokens: Vec<String>| {
        let mut requests = JoinSet::new();
        for token in tokens {
            let api = api.clone();
            requests.spawn(async move { api.whoami(&token).await });
        }
        requests.join_all().await
    };
    let token = issuer.mint(json!({}));
    let answers = all(vec![token.clone(); 1_000]).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(issuer.fetches(), 1, "a herd of 1000 on a cold start");
    issuer.behave(Behaviour::Normal);

    issuer.rotate();
    let answer = api.whoami(&issuer.mint(json!({}))).await;
    assert_eq!(
        answer.status, 200,
        "the first token of a new key: {answer:?}"
    );
    assert_eq!(
        api.whoami(&token).await.status,
        200,
        "and those of the old one"
    );
    assert_eq!(issuer.fetches(), 2);

    let junk = |number: usize| {
        let key = issuer.key().with_kid(format!("junk-{number}"));
        key.sign(&issuer.claims(json!({})))
    };
    let answers = all((0..1_000).map(junk).collect()).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 401 && answer.code() == "KEY_UNKNOWN")
    );
    assert!(
        issuer.fetches() <= 4,
        "a flood of 1000 kids: {} fetches",
        issuer.fetches() - 2
    );
    assert_eq!(api.whoami(&token).await.status, 200);
}

#[tokio::test]
async fn withdrawn_keys_and_outages_with_a_short_life() {
    let okta = TestAuthorizationServer::start().await;
    let issuer = okta.custom("default");
    let api = Api::start(&okta, &[("JWKS_CACHE_TTL", "1")]).await;
    let old = issuer.key();
    let token = issuer.mint(json!({}));
    assert_eq!(api.whoami(&token).await.status, 200);

    // Past their life, keys are used while their server is down.
    issuer.behave(Behaviour::Down);
    let before = issuer.fetches();
    in_time(async {
        while issuer.fetches() < before + 3 {
            assert_eq!(api.whoami(&token).await.status, 200);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    issuer.behave(Behaviour::Normal);

    // A key that is withdrawn is refused before long, without anything but waiting.
    issuer.rotate();
    issuer.remove(old.kid());
    let refused = in_time(async {
        loop {
            let answer = api.whoami(&token).await;
            if answer.status != 200 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    expect(&refused, 401, "KEY_UNKNOWN", "withdrawn");
    assert_eq!(api.whoami(&issuer.mint(json!({}))).await.status, 200);
}

#[tokio::test]
async fn bad_key_sets_do_no_harm() {
    let okta = TestAuthorizationServer::start().await;
    let issuer = okta.custom("default");
    let good = issuer.key().jwk();
    let tiny: Vec<Value> = (0..10_000).map(|_| json!({})).collect();
    let weak = json!({ "kty": "RSA", "kid": "weak", "alg": "RS256", "n": "AQAB", "e": "AQAB" });
    let symmetric =
        json!({ "kty": "oct", "kid": issuer.key().kid(), "alg": "HS256", "k": "c2VjcmV0" });
    let mut private = SigningKey::generate(Algorithm::Rs256).jwk();
    private["d"] = json!("AQAB");
    let off_curve = json!({ "kty": "EC", "crv": "P-256", "kid": "off", "x": "A".repeat(43), "y": "A".repeat(43) });
    for (what, keys) in [
        (
            "10,000 useless keys first",
            [tiny, vec![good.clone()]].concat(),
        ),
        (
            "each kind of bad key",
            vec![
                weak,
                symmetric,
                json!(null),
                good.clone(),
                private,
                off_curve,
                json!("x"),
            ],
        ),
        ("the same key twice", vec![good.clone(), good.clone()]),
    ] {
        issuer.publish_only(keys);
        let api = Api::start(&okta, &[]).await;
        assert_eq!(
            api.whoami(&issuer.mint(json!({}))).await.status,
            200,
            "{what}"
        );
    }
    let many: Vec<Value> = (0..10_000)
        .map(|number| {
            let mut jwk = good.clone();
            jwk["kid"] = json!(format!("k{number}"));
            jwk
        })
        .collect();
    issuer.publish_only(many);
    let api = Api::start(&okta, &[]).await;
    expect(
        &api.whoami(&issuer.mint(json!({}))).await,
        503,
        "KEYS_UNAVAILABLE",
        "megabytes of keys",
    );
}
