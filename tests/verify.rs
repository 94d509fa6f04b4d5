//! The pure core: headers, keys and a time make a verdict.
#![cfg(feature = "test-util")]

use std::{sync::OnceLock, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use portcullis::{
    AccessToken, Algorithm, AuthorizationServer, ClaimPath, JwksPolicy, RejectionKind,
    ResourceServer, Role, RoleMapping, UnixTime,
    test_util::SigningKey,
    verify::{self, KeySet},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use RejectionKind as Kind;

const NOW: u64 = 1_767_225_600;
const ISSUER: &str = "https://company.okta.com/oauth2/default";

/// A resource server, and one key of its authorization server's.
struct Bench {
    resource_server: ResourceServer,
    keys: KeySet,
    key: SigningKey,
}

impl Bench {
    fn new() -> Self {
        Self::with(|server| server)
    }

    fn with(configure: impl FnOnce(AuthorizationServer) -> AuthorizationServer) -> Self {
        Self::with_key(SigningKey::generate(Algorithm::Rs256), configure)
    }

    fn with_key(
        key: SigningKey,
        configure: impl FnOnce(AuthorizationServer) -> AuthorizationServer,
    ) -> Self {
        let server = AuthorizationServer::okta_custom("company.okta.com", "default")
            .audience("api://default")
            .roles(
                RoleMapping::new()
                    .grant(Role::Admin, ["admins"])
                    .grant(Role::Read, ["readers"]),
            );
        let resource_server = ResourceServer::builder()
            .trust(configure(server))
            .build()
            .unwrap();
        let keys = key_set(&resource_server, &[key.jwk()]);
        Self {
            resource_server,
            keys,
            key,
        }
    }

    fn token(&self, changes: Value) -> String {
        self.key.sign(&claims(changes))
    }

    fn judge(&self, token: &str) -> Result<AccessToken, Kind> {
        self.judge_at(NOW, token)
    }

    fn judge_at(&self, now: u64, token: &str) -> Result<AccessToken, Kind> {
        judge(&self.resource_server, &self.keys, now, token)
    }

    #[track_caller]
    fn refuses(&self, token: &str, kind: Kind) {
        assert_eq!(self.judge(token).map(|_| "accepted"), Err(kind));
    }
}

fn judge(
    resource_server: &ResourceServer,
    keys: &KeySet,
    now: u64,
    token: &str,
) -> Result<AccessToken, Kind> {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    headers.insert(AUTHORIZATION, value);
    verify::begin(&headers, resource_server)
        .and_then(|pending| pending.finish(UnixTime::from_secs(now), keys))
        .map_err(|rejection| rejection.kind())
}

fn key_set(resource_server: &ResourceServer, jwks: &[Value]) -> KeySet {
    let json = json!({ "keys": jwks }).to_string();
    KeySet::from_json(json.as_bytes(), &resource_server.authorization_servers()[0]).unwrap()
}

/// The claims of an ordinary Okta token, with `changes` laid over them; `null` takes one out.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "ver": 1, "jti": "AT.1", "iss": ISSUER, "aud": "api://default",
        "iat": NOW, "exp": NOW + 3_600, "cid": "0oa1", "uid": "00u1",
        "scp": ["openid", "read:data"], "sub": "joe@example.com", "groups": ["Everyone"],
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

#[test]
fn an_ordinary_token_is_accepted_and_says_who_it_is_about() {
    let bench = Bench::new();
    let token = bench.token(json!({ "groups": ["Everyone", "readers"], "department": "Sales" }));
    let token = bench.judge(&token).unwrap();
    assert_eq!(token.subject(), "joe@example.com");
    assert_eq!(token.issuer(), ISSUER);
    assert_eq!(token.client_id(), Some("0oa1"));
    assert_eq!(token.user_id(), Some("00u1"));
    assert_eq!(token.token_id(), Some("AT.1"));
    assert_eq!(token.scopes().collect::<Vec<_>>(), ["openid", "read:data"]);
    assert_eq!(token.groups().collect::<Vec<_>>(), ["Everyone", "readers"]);
    assert_eq!(token.role(), Some(Role::Read));
    assert_eq!(token.issued_at(), Some(UnixTime::from_secs(NOW)));
    assert_eq!(token.expires_at(), UnixTime::from_secs(NOW + 3_600));

    #[derive(serde::Deserialize)]
    struct Custom<'a> {
        department: &'a str,
    }
    assert_eq!(token.claims_as::<Custom<'_>>().unwrap().department, "Sales");
    assert!(token.claims_as::<Vec<u8>>().is_err());
}

#[test]
fn every_algorithm_verifies_what_it_signed_and_nothing_else() {
    for &algorithm in Algorithm::ALL.iter().filter(|alg| alg.is_supported()) {
        let bench = Bench::with_key(SigningKey::generate(algorithm), |server| {
            server.algorithms([algorithm])
        });
        let token = bench.token(json!({}));
        assert!(bench.judge(&token).is_ok(), "{algorithm}");

        // One bit of the signature, and one of what is signed.
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let flipped = |text: &str| {
            let first = if text.starts_with('A') { 'B' } else { 'A' };
            format!("{first}{}", &text[1..])
        };
        bench.refuses(
            &format!("{signed}.{}", flipped(signature)),
            Kind::SignatureInvalid,
        );
        let other = bench.token(json!({ "sub": "eve" }));
        let (other_signed, _) = other.rsplit_once('.').unwrap();
        bench.refuses(
            &format!("{other_signed}.{signature}"),
            Kind::SignatureInvalid,
        );
        bench.refuses(&format!("{signed}."), Kind::SignatureInvalid);
        bench.refuses(&format!("{signed}.AAAA"), Kind::SignatureInvalid);
    }
}

#[test]
fn ed25519_goes_by_both_of_its_names() {
    let key = SigningKey::generate(Algorithm::EdDsa);
    let bench = Bench::with_key(key, |server| server.algorithms([Algorithm::EdDsa]));
    for jwk_alg in [json!("EdDSA"), json!("Ed25519"), Value::Null] {
        let mut jwk = bench.key.jwk();
        match jwk_alg {
            Value::Null => drop(jwk.as_object_mut().unwrap().remove("alg")),
            alg => jwk["alg"] = alg,
        }
        let keys = key_set(&bench.resource_server, &[jwk]);
        for alg in ["EdDSA", "Ed25519"] {
            let header = json!({ "kid": bench.key.kid(), "alg": alg });
            let token = bench.key.sign_with_header(&header, &claims(json!({})));
            assert!(
                judge(&bench.resource_server, &keys, NOW, &token).is_ok(),
                "{alg}"
            );
        }
    }
}

#[test]
fn ecdsa_signatures_with_a_zero_half_are_refused() {
    let key = SigningKey::generate(Algorithm::Es256);
    let bench = Bench::with_key(key, |server| server.algorithms([Algorithm::Es256]));
    let token = bench.token(json!({}));
    let (signed, _) = token.rsplit_once('.').unwrap();
    for (r, s) in [(0, 0), (0, 1), (1, 0)] {
        let signature = URL_SAFE_NO_PAD.encode([[r; 32], [s; 32]].concat());
        bench.refuses(&format!("{signed}.{signature}"), Kind::SignatureInvalid);
    }
}

#[test]
fn the_algorithm_comes_from_the_list_and_the_key_never_from_the_token() {
    let bench = Bench::new();
    let sign = |alg: &str| {
        let header = json!({ "kid": bench.key.kid(), "alg": alg });
        bench.key.sign_with_header(&header, &claims(json!({})))
    };
    for alg in [
        "none", "None", "NONE", "HS256", "hs256", "rs256", "PS256", "ES256", "EdDSA", "",
    ] {
        bench.refuses(&sign(alg), Kind::AlgorithmRejected);
    }
    assert!(bench.judge(&sign("RS256")).is_ok());

    // On the list, but not what this key is for.
    let bench = Bench::with(|server| server.algorithms([Algorithm::Rs256, Algorithm::Ps256]));
    let ps256 = bench.key.clone().with_algorithm(Algorithm::Ps256);
    bench.refuses(&ps256.sign(&claims(json!({}))), Kind::AlgorithmRejected);

    // A key that does not say is used for those of the list that fit its type.
    let mut jwk = bench.key.jwk();
    jwk.as_object_mut().unwrap().remove("alg");
    let keys = key_set(&bench.resource_server, &[jwk]);
    for key in [&bench.key, &ps256] {
        let token = key.sign(&claims(json!({})));
        assert!(judge(&bench.resource_server, &keys, NOW, &token).is_ok());
    }
}

#[test]
fn unsigned_tokens_are_refused() {
    let bench = Bench::new();
    let token = bench
        .key
        .sign_text(r#"{"alg":"none"}"#, claims(json!({})).to_string());
    let (signed, _) = token.rsplit_once('.').unwrap();
    bench.refuses(&format!("{signed}."), Kind::AlgorithmRejected);
}

#[test]
fn keys_in_the_header_are_not_looked_at() {
    let bench = Bench::new();
    let attacker = SigningKey::generate(Algorithm::Rs256);
    for header in [
        json!({ "alg": "RS256", "kid": bench.key.kid(), "jwk": attacker.jwk() }),
        json!({ "alg": "RS256", "kid": bench.key.kid(), "jku": "https://evil.example/keys" }),
        json!({ "alg": "RS256", "kid": bench.key.kid(), "x5u": "https://evil.example/cert" }),
    ] {
        let token = attacker.sign_with_header(&header, &claims(json!({})));
        bench.refuses(&token, Kind::SignatureInvalid);
    }
}

#[test]
fn issuers_must_be_trusted_to_the_letter() {
    let bench = Bench::new();
    for iss in [
        json!("https://company.okta.com/oauth2/default/"),
        json!("https://company.okta.com/oauth2/defaul"),
        json!("https://company.okta.com/oauth2/default2"),
        json!("https://company.okta.com"),
        json!("https://COMPANY.okta.com/oauth2/default"),
        json!("http://company.okta.com/oauth2/default"),
        json!("https://evil.example/oauth2/default"),
        json!(""),
        Value::Null,
    ] {
        bench.refuses(&bench.token(json!({ "iss": iss })), Kind::IssuerUnknown);
    }
    for iss in [json!([ISSUER]), json!(5), json!({})] {
        bench.refuses(&bench.token(json!({ "iss": iss })), Kind::TokenMalformed);
    }
}

#[test]
fn an_alias_shares_policy_and_keys() {
    let bench =
        Bench::with(|server| server.issuer_alias("https://id.company.example/oauth2/default"));
    let token = bench.token(json!({ "iss": "https://id.company.example/oauth2/default" }));
    assert_eq!(
        bench.judge(&token).unwrap().issuer(),
        "https://id.company.example/oauth2/default"
    );
}

#[test]
fn audiences_are_one_string_or_several() {
    let bench = Bench::with(|server| server.audience("api://second"));
    for aud in [
        json!("api://default"),
        json!("api://second"),
        json!(["x", "api://default"]),
    ] {
        assert!(
            bench.judge(&bench.token(json!({ "aud": aud }))).is_ok(),
            "{aud}"
        );
    }
    for aud in [
        json!("api://other"),
        json!("api://default/"),
        json!("API://DEFAULT"),
        json!([]),
        json!(""),
        json!(["x"]),
        json!("0oa1"),
    ] {
        bench.refuses(&bench.token(json!({ "aud": aud })), Kind::AudienceMismatch);
    }
    for aud in [
        Value::Null,
        json!(1),
        json!({}),
        json!([["api://default"]]),
        json!(["api://default", 1]),
        json!(true),
    ] {
        bench.refuses(&bench.token(json!({ "aud": aud })), Kind::ClaimInvalid);
    }
}

#[test]
fn any_audience_is_accepted_only_where_that_was_asked_for() {
    let server = AuthorizationServer::okta_custom("company.okta.com", "default")
        .dangerous_accept_any_audience();
    let key = SigningKey::generate(Algorithm::Rs256);
    let bench = Bench::with_key(key, |_| server);
    for aud in [json!("x"), json!([]), Value::Null] {
        assert!(bench.judge(&bench.token(json!({ "aud": aud }))).is_ok());
    }
}

#[test]
fn times_are_checked_with_leeway_to_the_second() {
    let bench = Bench::new();
    let token = bench.token(json!({ "exp": NOW + 100, "nbf": NOW + 10, "iat": NOW + 20 }));
    let kind = |now| bench.judge_at(now, &token).err();
    // The later of nbf and iat, less 60 seconds.
    assert_eq!(kind(NOW - 41), Some(Kind::TokenNotYetValid));
    assert_eq!(kind(NOW - 40), None);
    // exp, plus 60 seconds: on or after it, no more.
    assert_eq!(kind(NOW + 159), None);
    assert_eq!(kind(NOW + 160), Some(Kind::TokenExpired));
}

#[test]
fn leeway_can_be_taken_away() {
    let server =
        AuthorizationServer::okta_custom("company.okta.com", "default").audience("api://default");
    let resource_server = ResourceServer::builder()
        .trust(server)
        .leeway(Duration::ZERO)
        .build()
        .unwrap();
    let key = SigningKey::generate(Algorithm::Rs256);
    let keys = key_set(&resource_server, &[key.jwk()]);
    let judge = |changes| {
        let token = key.sign(&claims(changes));
        judge(&resource_server, &keys, NOW, &token).err()
    };
    assert_eq!(judge(json!({ "exp": NOW })), Some(Kind::TokenExpired));
    assert_eq!(judge(json!({ "exp": NOW + 1 })), None);
    assert_eq!(judge(json!({ "exp": NOW as f64 + 0.5 })), None);
    assert_eq!(judge(json!({ "nbf": NOW })), None);
    assert_eq!(
        judge(json!({ "nbf": NOW + 1 })),
        Some(Kind::TokenNotYetValid)
    );
    assert_eq!(
        judge(json!({ "nbf": NOW as f64 + 0.5 })),
        Some(Kind::TokenNotYetValid)
    );
}

#[test]
fn dates_must_be_numbers() {
    let bench = Bench::new();
    for bad in [
        json!("1999999999"),
        json!([]),
        json!(true),
        json!({}),
        json!(1e300),
    ] {
        for name in ["exp", "nbf", "iat"] {
            bench.refuses(&bench.token(json!({ name: bad })), Kind::ClaimInvalid);
        }
    }
    bench.refuses(&bench.token(json!({ "exp": null })), Kind::ClaimInvalid);
    bench.refuses(&bench.token(json!({ "exp": -1 })), Kind::TokenExpired);
    bench.refuses(&bench.token(json!({ "exp": 0 })), Kind::TokenExpired);
    assert!(
        bench
            .judge(&bench.token(json!({ "iat": null, "nbf": null })))
            .is_ok()
    );
    assert!(
        bench
            .judge(&bench.token(json!({ "exp": NOW as f64 + 3_600.25 })))
            .is_ok()
    );

    let raw = |exp: &str| {
        let text = claims(json!({ "exp": "EXP" }))
            .to_string()
            .replace("\"EXP\"", exp);
        let header = json!({ "kid": bench.key.kid(), "alg": "RS256" }).to_string();
        bench.key.sign_text(header, text)
    };
    bench.refuses(&raw("1e400"), Kind::ClaimInvalid);
    bench.refuses(&raw("null"), Kind::ClaimInvalid);
    assert!(bench.judge(&raw("2e9")).is_ok());
    assert!(bench.judge(&raw("99999999999")).is_ok());
}

#[test]
fn scopes_are_read_in_either_spelling_and_shape() {
    let bench = Bench::new();
    let scopes = |changes| {
        let token = bench.judge(&bench.token(changes)).unwrap();
        token.scopes().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(scopes(json!({ "scp": ["a", "b"] })), ["a", "b"]);
    assert_eq!(scopes(json!({ "scp": "a b" })), ["a", "b"]);
    assert_eq!(
        scopes(json!({ "scp": null, "scope": " a  b " })),
        ["a", "b"]
    );
    assert_eq!(
        scopes(json!({ "scp": ["b", "c"], "scope": "a b" })),
        ["a", "b", "c"]
    );
    assert_eq!(
        scopes(json!({ "scp": ["a b"] })),
        ["a b"],
        "one token, which matches nothing"
    );
    assert_eq!(scopes(json!({ "scp": null })), [""; 0]);
    for bad in [json!(1), json!([1]), json!({}), json!(true), json!([["a"]])] {
        bench.refuses(&bench.token(json!({ "scp": bad })), Kind::ClaimInvalid);
        bench.refuses(&bench.token(json!({ "scope": bad })), Kind::ClaimInvalid);
    }
}

#[test]
fn groups_come_from_the_configured_claim_and_grant_the_highest_role() {
    let bench = Bench::new();
    let role = |groups: Value| {
        bench
            .judge(&bench.token(json!({ "groups": groups })))
            .map(|t| t.role())
    };
    assert_eq!(role(json!(["readers", "admins"])), Ok(Some(Role::Admin)));
    assert_eq!(role(json!(["Admins", "admins ", "admin"])), Ok(None));
    assert_eq!(role(json!([])), Ok(None));
    assert_eq!(role(Value::Null), Ok(None));
    for bad in [
        json!("admins"),
        json!({ "admins": true }),
        json!([1]),
        json!(["admins", null]),
    ] {
        assert_eq!(role(bad), Err(Kind::ClaimInvalid));
    }

    let bench = Bench::with(|server| server.groups_claim("https://app.example/teams"));
    let token =
        bench.token(json!({ "https://app.example/teams": ["admins"], "groups": ["readers"] }));
    assert_eq!(bench.judge(&token).unwrap().role(), Some(Role::Admin));

    let bench =
        Bench::with(|server| server.groups_claim(ClaimPath::nested(["realm_access", "roles"])));
    let token = bench.token(json!({ "realm_access": { "roles": ["admins"] } }));
    assert_eq!(bench.judge(&token).unwrap().role(), Some(Role::Admin));
    bench.refuses(
        &bench.token(json!({ "realm_access": ["admins"] })),
        Kind::ClaimInvalid,
    );
    let token = bench.token(json!({ "realm_access": {} }));
    assert_eq!(bench.judge(&token).unwrap().role(), None);
}

#[test]
fn a_subject_is_needed_and_strings_are_strings() {
    let bench = Bench::new();
    bench.refuses(&bench.token(json!({ "sub": null })), Kind::ClaimInvalid);
    for name in ["sub", "cid", "client_id", "uid", "jti"] {
        for bad in [json!(1), json!(["x"]), json!({})] {
            bench.refuses(&bench.token(json!({ name: bad })), Kind::ClaimInvalid);
        }
    }
}

#[test]
fn clients_can_be_restricted() {
    let bench = Bench::with(|server| server.allowed_clients(["0oa1", "0oa2"]));
    assert!(bench.judge(&bench.token(json!({}))).is_ok());
    let by_rfc_name = bench.token(json!({ "cid": null, "client_id": "0oa2" }));
    assert!(bench.judge(&by_rfc_name).is_ok());
    bench.refuses(
        &bench.token(json!({ "cid": "0oa3" })),
        Kind::ClientNotAllowed,
    );
    bench.refuses(&bench.token(json!({ "cid": null })), Kind::ClientNotAllowed);
}

#[test]
fn tokens_of_other_kinds_are_refused() {
    let bench = Bench::new();
    for marks in [
        json!({ "nonce": "n-1" }),
        json!({ "at_hash": "x" }),
        json!({ "c_hash": "x" }),
        json!({ "jti": "ID.abc" }),
        json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } }),
    ] {
        bench.refuses(&bench.token(marks), Kind::TokenTypeRejected);
    }
    for typ in [
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "application/kb+jwt",
        "global-token-revocation+jwt",
    ] {
        let header = json!({ "kid": bench.key.kid(), "alg": "RS256", "typ": typ });
        let token = bench.key.sign_with_header(&header, &claims(json!({})));
        bench.refuses(&token, Kind::TokenTypeRejected);
    }
    // An ID token by its audience, as Okta's are.
    bench.refuses(
        &bench.token(json!({ "aud": "0oa1" })),
        Kind::AudienceMismatch,
    );

    let lax = Bench::with(AuthorizationServer::dangerous_accept_id_tokens);
    assert!(
        lax.judge(&lax.token(json!({ "nonce": "n-1", "jti": "ID.1" })))
            .is_ok()
    );
    lax.refuses(&lax.token(json!({ "events": {} })), Kind::TokenTypeRejected);
}

#[test]
fn at_jwt_can_be_required() {
    let bench = Bench::with(AuthorizationServer::require_at_jwt);
    let typed = |typ: Value| {
        let header = json!({ "kid": bench.key.kid(), "alg": "RS256", "typ": typ });
        bench.key.sign_with_header(&header, &claims(json!({})))
    };
    for typ in ["at+jwt", "application/at+jwt", "AT+JWT"] {
        assert!(bench.judge(&typed(json!(typ))).is_ok(), "{typ}");
    }
    bench.refuses(&typed(json!("JWT")), Kind::TokenTypeRejected);
    bench.refuses(&bench.token(json!({})), Kind::TokenTypeRejected);
}

#[test]
fn sender_constrained_tokens_are_not_plain_bearer_tokens() {
    let bench = Bench::new();
    for cnf in [
        json!({ "jkt": "x" }),
        json!({ "x5t#S256": "x" }),
        json!({}),
        json!(1),
    ] {
        bench.refuses(&bench.token(json!({ "cnf": cnf })), Kind::BindingMissing);
    }
}

#[test]
fn hostile_kids_are_only_ever_looked_up() {
    let bench = Bench::new();
    let long = "k".repeat(10_000);
    for kid in [
        "",
        "../../etc/passwd",
        "' OR 1=1 --",
        "\u{0}",
        "http://evil.example",
        &long,
    ] {
        let header = json!({ "kid": kid, "alg": "RS256" });
        bench.refuses(
            &bench.key.sign_with_header(&header, &claims(json!({}))),
            Kind::KeyUnknown,
        );
    }
}

#[test]
fn a_token_without_kid_needs_exactly_one_key_that_fits() {
    let bench = Bench::with(|server| server.algorithms([Algorithm::Rs256, Algorithm::Es256]));
    let token = bench
        .key
        .sign_with_header(&json!({ "alg": "RS256" }), &claims(json!({})));
    let judge = |jwks: &[Value]| {
        let keys = key_set(&bench.resource_server, jwks);
        judge(&bench.resource_server, &keys, NOW, &token).err()
    };
    let ec = SigningKey::generate(Algorithm::Es256).jwk();
    let other = SigningKey::generate(Algorithm::Rs256).jwk();
    let mut nameless = bench.key.jwk();
    nameless.as_object_mut().unwrap().remove("kid");
    assert_eq!(judge(&[bench.key.jwk()]), None);
    assert_eq!(judge(&[bench.key.jwk(), ec.clone()]), None);
    assert_eq!(judge(&[nameless]), None);
    assert_eq!(judge(&[bench.key.jwk(), other]), Some(Kind::KeyAmbiguous));
    assert_eq!(judge(&[ec]), Some(Kind::KeyUnknown));
}

#[test]
fn a_kid_that_stands_for_two_keys_is_no_answer() {
    let bench = Bench::new();
    let twin = SigningKey::generate(Algorithm::Rs256).with_kid(bench.key.kid());
    let token = bench.token(json!({}));
    let judge = |jwks: &[Value]| {
        let keys = key_set(&bench.resource_server, jwks);
        judge(&bench.resource_server, &keys, NOW, &token).err()
    };
    assert_eq!(
        judge(&[bench.key.jwk(), twin.jwk()]),
        Some(Kind::KeyAmbiguous)
    );
    assert_eq!(
        judge(&[bench.key.jwk(), bench.key.jwk()]),
        None,
        "the same key twice"
    );
    let ec = SigningKey::generate(Algorithm::Es256).with_kid(bench.key.kid());
    assert_eq!(judge(&[bench.key.jwk(), ec.jwk()]), None, "of another type");
}

#[test]
fn a_key_that_is_listed_twice_counts_once_whatever_it_says_of_its_algorithm() {
    let both = [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Rs256];
    let bench = Bench::with(|server| server.algorithms(both));
    let mut without_alg = bench.key.jwk();
    without_alg.as_object_mut().unwrap().remove("alg");
    for jwks in [
        vec![bench.key.jwk(), without_alg.clone()],
        vec![without_alg, bench.key.jwk()],
    ] {
        let keys = key_set(&bench.resource_server, &jwks);
        let verdict = judge(&bench.resource_server, &keys, NOW, &bench.token(json!({})));
        assert!(verdict.is_ok(), "{verdict:?}");
    }
}

#[test]
fn one_bad_key_does_not_spoil_the_others() {
    let bench = Bench::with(|server| server.algorithms([Algorithm::Rs256, Algorithm::Es256]));
    let token = bench.token(json!({}));
    let changed = |name: &str, value: Value| {
        let mut jwk = SigningKey::generate(Algorithm::Es256).jwk();
        jwk[name] = value;
        jwk
    };
    let rsa = |name: &str, value: Value| {
        let mut jwk = bench.key.jwk();
        jwk["kid"] = json!("bad");
        jwk[name] = value;
        jwk
    };
    let zeros = "A".repeat(43);
    let bad = [
        json!(null),
        json!(5),
        json!([]),
        json!({}),
        json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" }),
        json!({ "kty": "OKP", "crv": "X25519", "x": zeros }),
        changed("x", json!(zeros)),
        changed("x", json!("AAAA")),
        changed("crv", json!("P-384")),
        changed("crv", json!("secp256k1")),
        changed("d", json!("AAAA")),
        changed("use", json!("enc")),
        changed("use", json!(1)),
        changed("kid", json!(1)),
        changed("key_ops", json!(["sign"])),
        changed("alg", json!("ES384")),
        changed("alg", json!("none")),
        rsa("n", json!("AQAB")),
        rsa("n", json!("not base64url!")),
        rsa("e", json!("AQ")),
        rsa("e", json!("")),
        rsa("p", json!("AQAB")),
        rsa("k", json!("AQAB")),
        rsa("alg", json!("PS256")),
        rsa("alg", json!("HS256")),
    ];
    for jwk in &bad {
        let keys = key_set(&bench.resource_server, std::slice::from_ref(jwk));
        assert_eq!((keys.len(), keys.left_out()), (0, 1), "{jwk}");
    }
    let mut all = bad.to_vec();
    all.insert(bad.len() / 2, bench.key.jwk());
    let keys = key_set(&bench.resource_server, &all);
    assert_eq!((keys.len(), keys.left_out()), (1, bad.len()));
    assert!(judge(&bench.resource_server, &keys, NOW, &token).is_ok());
}

#[test]
fn a_modulus_with_a_sign_byte_is_taken_without_it() {
    let bench = Bench::new();
    let mut jwk = bench.key.jwk();
    let n = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    jwk["n"] = json!(URL_SAFE_NO_PAD.encode([&[0][..], &n].concat()));
    let keys = key_set(&bench.resource_server, &[jwk]);
    assert!(judge(&bench.resource_server, &keys, NOW, &bench.token(json!({}))).is_ok());
}

#[test]
fn only_so_many_keys_are_kept_and_unusable_ones_do_not_count() {
    let bench = Bench::with(|server| server.jwks_policy(JwksPolicy::default().max_keys(2)));
    let keys: Vec<_> = (0..3)
        .map(|_| SigningKey::generate(Algorithm::Rs256))
        .collect();
    let junk = json!({ "kty": "oct", "k": "AAAA" });
    let jwks = [
        junk.clone(),
        keys[0].jwk(),
        junk,
        keys[1].jwk(),
        keys[2].jwk(),
    ];
    let set = key_set(&bench.resource_server, &jwks);
    assert_eq!((set.len(), set.left_out()), (2, 3));
    assert!(set.contains(keys[1].kid()) && !set.contains(keys[2].kid()));
}

#[test]
fn what_is_no_key_set_is_said_to_be_none() {
    let bench = Bench::new();
    let server = &bench.resource_server.authorization_servers()[0];
    let deep = "[".repeat(100_000);
    for text in [
        "",
        "null",
        "[]",
        "{}",
        "{\"keys\":{}}",
        "[[]]",
        "{\"keys\":[}",
        "<html>",
        "\u{feff}{\"keys\":[]}",
        &deep,
    ] {
        assert!(
            KeySet::from_json(text.as_bytes(), server).is_err(),
            "{}",
            &text[..text.len().min(20)]
        );
    }
    assert!(KeySet::from_json(b"{\"keys\":[\xff]}", server).is_err());
    assert!(
        KeySet::from_json(b"{\"keys\":[]}", server)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn keys_of_one_issuer_are_no_good_for_another() {
    let key = SigningKey::generate(Algorithm::Rs256);
    let other_key = SigningKey::generate(Algorithm::Rs256).with_kid(key.kid());
    let resource_server = ResourceServer::builder()
        .trust(
            AuthorizationServer::okta_custom("company.okta.com", "default")
                .audience("api://default"),
        )
        .trust(
            AuthorizationServer::okta_custom("company.okta.com", "other").audience("api://default"),
        )
        .build()
        .unwrap();
    let keys_of_other = key_set(&resource_server, &[other_key.jwk()]);
    // Signed by `default`'s key, and says so; it is `other`'s keys that it is checked against.
    let token = key.sign(&claims(
        json!({ "iss": "https://company.okta.com/oauth2/other" }),
    ));
    let verdict = judge(&resource_server, &keys_of_other, NOW, &token);
    assert_eq!(verdict.map(|_| ()), Err(Kind::SignatureInvalid));
}

#[test]
fn nothing_of_a_token_shows_in_debug_output() {
    let bench = Bench::new();
    let token = bench.token(json!({ "secret": "hunter2" }));
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    let pending = verify::begin(&headers, &bench.resource_server).unwrap();
    let shown = format!("{pending:?} {:?}", bench.judge(&token).unwrap());
    let signature = token.rsplit('.').next().unwrap();
    assert!(
        !shown.contains("hunter2") && !shown.contains(signature),
        "{shown}"
    );
}

/// A value of some JSON type, of the sort that claims have or should not have.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("api://default")),
        Just(json!(ISSUER)),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("\\PC{0,6}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn headers_of_any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let bench = shared();
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            headers.insert(AUTHORIZATION, value);
        }
        prop_assert!(verify::begin(&headers, &bench.resource_server).is_err());
    }

    #[test]
    fn a_token_with_one_character_changed_is_refused(place in any::<prop::sample::Index>(), to in "[A-Za-z0-9._~+/=-]") {
        let bench = shared();
        let token = bench.token(json!({}));
        let place = place.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(place..=place, &to);
        prop_assert_eq!(bench.judge(&changed).is_ok(), changed == token);
    }

    #[test]
    fn headers_and_claims_of_any_json_do_no_harm(header in any_json(), claims in any_json()) {
        let bench = shared();
        let token = bench.key.sign_with_header(&header, &claims);
        prop_assert!(bench.judge(&token).is_err());
    }

    #[test]
    fn a_claim_of_any_json_is_read_or_refused(
        name in prop::sample::select(vec!["iss", "aud", "exp", "nbf", "iat", "sub", "scp", "scope", "groups", "cid", "jti", "cnf", "x"]),
        value in any_json(),
    ) {
        let bench = shared();
        let verdict = bench.judge(&bench.token(json!({ name: value })));
        if let Ok(token) = verdict {
            prop_assert_eq!(token.issuer(), ISSUER);
            prop_assert!(token.expires_at() > UnixTime::from_secs(NOW - 60));
            prop_assert!(name != "cnf" || value.is_null());
        }
    }

    #[test]
    fn key_sets_of_any_json_do_no_harm(jwks in prop::collection::vec(any_json(), 0..5), jwk in any_json(), name in "(kty|kid|alg|use|key_ops|n|e|crv|x|y)") {
        let bench = shared();
        let mut changed = bench.key.jwk();
        changed["kid"] = json!("changed");
        changed[&name] = jwk;
        let mut all = jwks;
        all.push(changed);
        all.push(bench.key.jwk());
        let keys = key_set(&bench.resource_server, &all);
        let verdict = judge(&bench.resource_server, &keys, NOW, &bench.token(json!({})));
        prop_assert!(verdict.is_ok());
    }
}

/// One bench for all cases, since making keys takes long.
fn shared() -> &'static Bench {
    static SHARED: OnceLock<Bench> = OnceLock::new();
    SHARED.get_or_init(Bench::new)
}
