//! The presets, provider by provider: tokens as the product writes them, what is read from them,
//! and what must not pass for one. Then claims as data, for a provider without a preset.
#![cfg(feature = "test-util")]

use std::{sync::OnceLock, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use portcullis::{
    AccessToken, Algorithm, AuthorizationServer, ClaimPath, ConfigError, ListClaim, Rejection,
    RejectionKind, ResourceServer, Role, RoleMapping, ScopeHierarchy, ScopeRequirement, UnixTime,
    test_util::SigningKey,
    verify::{self, KeySet},
};
use serde_json::{Value, json};

use RejectionKind as Kind;

const NOW: u64 = 1_767_225_600;

/// Keys are made once, since that takes long.
fn key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate(Algorithm::Rs256))
}

fn other_key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate(Algorithm::Rs256))
}

fn ec_key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate(Algorithm::Es256))
}

/// An API that trusts one provider, and a token for it.
struct Bench {
    resource_server: ResourceServer,
    keys: KeySet,
    key: &'static SigningKey,
    token_header: Option<HeaderName>,
    header: Value,
    claims: Value,
    /// The claim that says for whom the token is.
    audience: &'static str,
}

impl Bench {
    fn new(server: AuthorizationServer, claims: Value) -> Self {
        Self::with_key(server, key(), claims)
    }

    fn with_key(server: AuthorizationServer, key: &'static SigningKey, claims: Value) -> Self {
        let resource_server = ResourceServer::builder().trust(server).build().unwrap();
        Self {
            keys: key_set(&resource_server, &[key.jwk()]),
            resource_server,
            key,
            token_header: None,
            header: json!({ "alg": key.jwk()["alg"], "kid": key.kid() }),
            claims,
            audience: "aud",
        }
    }

    fn header(mut self, changes: Value) -> Self {
        self.header = changed(&self.header, &changes);
        self
    }

    fn jwks(mut self, jwks: &[Value]) -> Self {
        self.keys = key_set(&self.resource_server, jwks);
        self
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let (header, claims) = (changed(&self.header, header), changed(&self.claims, claims));
        self.key.sign_with_header(&header, &claims)
    }

    fn judge(&self, claims: &Value) -> Result<AccessToken, Rejection> {
        self.judge_token(&self.sign(&json!({}), claims))
    }

    fn judge_token(&self, token: &str) -> Result<AccessToken, Rejection> {
        self.judge_at(NOW, token)
    }

    fn judge_at(&self, now: u64, token: &str) -> Result<AccessToken, Rejection> {
        let mut headers = HeaderMap::new();
        let (name, value) = match &self.token_header {
            Some(name) => (name.clone(), token.to_owned()),
            None => (AUTHORIZATION, format!("Bearer {token}")),
        };
        headers.insert(name, HeaderValue::try_from(value).unwrap());
        verify::begin(&headers, &self.resource_server)?.finish(UnixTime::from_secs(now), &self.keys)
    }
}

fn key_set(resource_server: &ResourceServer, jwks: &[Value]) -> KeySet {
    let json = json!({ "keys": jwks }).to_string();
    KeySet::from_json(json.as_bytes(), &resource_server.authorization_servers()[0]).unwrap()
}

/// `changes` laid over an object; `null` takes a member out.
fn changed(object: &Value, changes: &Value) -> Value {
    let mut object = object.clone();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value.clone();
        }
    }
    object
}

/// What an accepted token says.
#[derive(Debug, Default, PartialEq)]
struct Says<'t> {
    subject: &'t str,
    client_id: Option<&'t str>,
    user_id: Option<&'t str>,
    scopes: Vec<&'t str>,
    groups: Vec<&'t str>,
    /// The role, the claim that the group stands in, and the group.
    grant: Option<(Role, String, &'t str)>,
    groups_incomplete: bool,
}

impl<'t> Says<'t> {
    fn of(token: &'t AccessToken) -> Self {
        let grant = token.role_grant();
        assert_eq!(token.role(), grant.map(|grant| grant.role));
        assert!(grant.is_none_or(|grant| grant.issuer == token.issuer()));
        Self {
            subject: token.subject(),
            client_id: token.client_id(),
            user_id: token.user_id(),
            scopes: token.scopes().collect(),
            groups: token.groups().collect(),
            grant: grant.map(|grant| (grant.role, grant.claim.to_string(), grant.group)),
            groups_incomplete: !token.groups_complete(),
        }
    }
}

fn grant(role: Role, claim: &str, group: &'static str) -> Option<(Role, String, &'static str)> {
    Some((role, claim.to_owned(), group))
}

/// Rows `"name": { claims laid over the bench's } => what the token says`.
macro_rules! says {
    ($rows:expr, $bench:expr; $($name:literal: $claims:tt => $says:expr
        $(, { $($field:ident: $value:expr),* $(,)? })?;)*) => {
        $($rows.says(&$bench, $name, json!($claims), Says { $($($field: $value,)*)? ..$says });)*
    };
}

/// Rows `"name": { claims laid over the bench's }`.
macro_rules! accepts {
    ($rows:expr, $bench:expr; $($name:literal: $claims:tt;)*) => {
        $($rows.accepts(&$bench, $name, json!($claims));)*
    };
}

/// Rows `"name": { claims laid over the bench's } => the kind of rejection`.
macro_rules! refuses {
    ($rows:expr, $bench:expr; $($name:literal: $claims:tt => $kind:ident;)*) => {
        $($rows.refuses(&$bench, $name, json!($claims), Kind::$kind);)*
    };
}

/// Values that a preset does not take, and words of the text that says so.
macro_rules! mistakes {
    ($rows:expr, $words:expr, |$value:ident| $server:expr; $($bad:expr),* $(,)?) => {
        for $value in [$($bad),*] {
            $rows.mistake($value, $server, &$words);
        }
    };
}

/// Rows `"name", a setting, some JSON => what is expected`.
macro_rules! cases {
    ($($name:expr, $setting:expr, $json:tt => $expected:expr;)*) => {
        [$(($name, $setting, json!($json), $expected)),*]
    };
}

/// The rows of a table that did not turn out as they should.
#[derive(Default)]
struct Rows(Vec<String>);

/// Goes through a whole table, and tells of all rows that are wrong.
fn table(fill: impl FnOnce(&mut Rows)) {
    let mut rows = Rows::default();
    fill(&mut rows);
    assert!(rows.0.is_empty(), "\n{}\n", rows.0.join("\n"));
}

impl Rows {
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, name: &str, found: &T, expected: &T) {
        if found != expected {
            self.0
                .push(format!("{name}: {found:?}, and not {expected:?}"));
        }
    }

    /// The token is accepted, and says this.
    fn says(&mut self, bench: &Bench, name: &str, changes: Value, expected: Says<'_>) {
        match bench.judge(&changes) {
            Ok(token) => {
                self.same(name, &Says::of(&token), &expected);
                let issuer = changed(&bench.claims, &changes)["iss"].clone();
                self.same(name, &json!(token.issuer()), &issuer);
            }
            Err(rejection) => self.0.push(format!("{name}: {rejection:?}")),
        }
    }

    fn accepts(&mut self, bench: &Bench, name: &str, changes: Value) {
        let kind = bench.judge(&changes).err().map(|r| r.kind());
        self.same(name, &kind, &None);
    }

    fn refuses(&mut self, bench: &Bench, name: &str, changes: Value, kind: Kind) {
        self.refuses_token(bench, name, &bench.sign(&json!({}), &changes), kind);
    }

    fn refuses_token(&mut self, bench: &Bench, name: &str, token: &str, kind: Kind) {
        let found = bench.judge_token(token).err().map(|r| r.kind());
        self.same(name, &found, &Some(kind));
    }

    /// What no provider's token may look like.
    fn refuses_the_usual(&mut self, bench: &Bench) {
        let mut rows = Self::default();
        let issuer = bench.claims["iss"].as_str().unwrap();
        for nearly in nearly(issuer) {
            let claims = json!({ "iss": nearly });
            rows.refuses(bench, &nearly, claims, Kind::IssuerUnknown);
        }
        let aud = bench.audience;
        refuses! { rows, bench;
            "other audience": { aud: "https://other.example" } => AudienceMismatch;
            "other audiences": { aud: ["https://other.example", ""] } => AudienceMismatch;
            "empty list of audiences": { aud: [] } => AudienceMismatch;
            "no audience": { aud: null } => ClaimInvalid;
            "no expiry": { "exp": null } => ClaimInvalid;
            "expired": { "exp": NOW - 60 } => TokenExpired;
            "not valid yet": { "nbf": NOW + 61 } => TokenNotYetValid;
            "issued in the future": { "iat": NOW + 61 } => TokenNotYetValid;
            "bound to a key": { "cnf": { "jkt": "0ZcOCORZNYy" } } => BindingMissing;
            "logout token": {
                "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
            } => TokenTypeRejected;
        }
        for (name, (), header, kind) in cases! {
            "kid", (), { "kid": "other" } => Kind::KeyUnknown;
            "logout token by type", (), { "typ": "logout+jwt" } => Kind::TokenTypeRejected;
            "proof of DPoP", (), { "typ": "dpop+jwt" } => Kind::TokenTypeRejected;
            "revocation", (), { "typ": "global-token-revocation+jwt" } => Kind::TokenTypeRejected;
        } {
            let token = bench.sign(&header, &json!({}));
            rows.refuses_token(bench, name, &token, kind);
        }
        for alg in ["none", "HS256", "RS256", "RS384", "PS256", "ES256", "EdDSA"] {
            if bench.header["alg"] != alg {
                let token = bench.sign(&json!({ "alg": alg }), &json!({}));
                rows.refuses_token(bench, alg, &token, Kind::AlgorithmRejected);
            }
        }
        let forged = other_key().sign_with_header(&bench.header, &bench.claims);
        rows.refuses_token(bench, "forged", &forged, Kind::SignatureInvalid);
        let encrypted = "e30.e30.e30.e30.e30";
        rows.refuses_token(bench, "encrypted", encrypted, Kind::TokenTypeRejected);
        let rows = rows.0.into_iter().map(|row| format!("{issuer}: {row}"));
        self.0.extend(rows);
    }

    /// A mistake in the configuration is found, and told in these words.
    fn mistake(&mut self, found: &str, server: AuthorizationServer, words: &[&str]) {
        let text = match ResourceServer::builder().trust(server).build() {
            Ok(_) => "taken".to_owned(),
            Err(error) => error.to_string(),
        };
        if !words.iter().all(|word| text.contains(word)) {
            self.0
                .push(format!("{found:?}: {text}, without one of {words:?}"));
        }
    }
}

/// Issuers that are the same to somebody who is not careful.
fn nearly(issuer: &str) -> Vec<String> {
    let (scheme, rest) = issuer.split_once("://").unwrap();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let other_slash = match issuer.strip_suffix('/') {
        Some(without) => without.to_owned(),
        None => format!("{issuer}/"),
    };
    let last = issuer.rfind(|c: char| c.is_ascii_alphanumeric()).unwrap();
    let escaped = format!("%{:02X}", issuer.as_bytes()[last]);
    let mut nearly = vec![
        other_slash,
        format!("{scheme}://{}{path}", host.to_uppercase()),
        format!("{}://{host}{path}", scheme.to_uppercase()),
        format!("{scheme}://{host}:443{path}"),
        format!("{scheme}://{host}.{path}"),
        format!("{scheme}://user@{host}{path}"),
        format!("http://{host}{path}"),
        format!("{}{escaped}{}", &issuer[..last], &issuer[last + 1..]),
        format!("{scheme}://{host}/x/..{path}"),
        format!("{issuer}?"),
        format!("{issuer}#"),
        format!("{issuer} "),
        format!("{issuer}\0"),
        String::new(),
    ];
    if path.len() > 1 {
        nearly.push(format!("{scheme}://{host}{}", path.to_uppercase()));
        nearly.push(format!("{scheme}://{host}"));
    }
    nearly
}

#[test]
fn okta_custom() {
    table(|rows| {
        let server = AuthorizationServer::okta_custom("company.okta.com", "aus9o8wzkhckw9TLa0h7z")
            .audience("api://orders")
            .roles(RoleMapping::new().grant(Role::Admin, ["OrderAdmins"]));
        let bench = Bench::new(
            server,
            json!({
                "ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
                "iss": "https://company.okta.com/oauth2/aus9o8wzkhckw9TLa0h7z",
                "aud": "api://orders",
                "iat": NOW, "exp": NOW + 3_600, "cid": "nmdP1fcyvdVO11AL7ECm",
                "uid": "00ujmkLgagxeRrAg20g3", "scp": ["openid", "orders:read"],
                "auth_time": NOW - 60, "sub": "joe@company.example", "acr": "urn:okta:loa:1fa:any",
                "groups": ["Everyone", "OrderAdmins"],
            }),
        );
        let user = || Says {
            subject: "joe@company.example",
            client_id: Some("nmdP1fcyvdVO11AL7ECm"),
            user_id: Some("00ujmkLgagxeRrAg20g3"),
            scopes: vec!["openid", "orders:read"],
            groups: vec!["Everyone", "OrderAdmins"],
            grant: grant(Role::Admin, "groups", "OrderAdmins"),
            ..Says::default()
        };
        says! { rows, bench;
            "a user's": {} => user();
            "a client's own": {
                "sub": "nmdP1fcyvdVO11AL7ECm", "uid": null, "auth_time": null, "acr": null,
                "groups": null, "scp": ["orders:read"],
            } => Says::default(), {
                subject: "nmdP1fcyvdVO11AL7ECm", client_id: Some("nmdP1fcyvdVO11AL7ECm"),
                scopes: vec!["orders:read"]
            };
        }
        for typ in ["JWT", "at+jwt", "application/at+jwt"] {
            let token = bench.sign(&json!({ "typ": typ }), &json!({}));
            rows.same(typ, &bench.judge_token(&token).is_ok(), &true);
        }
        rows.refuses_the_usual(&bench);
        refuses! { rows, bench;
            "ID token": {
                "jti": "ID.4eAWJOCMB3SX8XewDfVR", "aud": "nmdP1fcyvdVO11AL7ECm", "nonce": "n-0S6",
                "at_hash": "preyLpbnsfQc", "amr": ["pwd"], "idp": "00ok1u7AsAkrwdZL3z0b",
                "cid": null, "uid": null, "scp": null, "sub": "00ujmkLgagxeRrAg20g3",
            } => TokenTypeRejected;
            "ID token for a client of this name": {
                "jti": "ID.4eAWJOCMB3SX8XewDfVR", "cid": null, "uid": null, "scp": null,
            } => TokenTypeRejected;
            "of another server of the org": { "iss": "https://company.okta.com/oauth2/default" }
                => IssuerUnknown;
            "of the org server": { "iss": "https://company.okta.com" } => IssuerUnknown;
            "of the other domain": {
                "iss": "https://id.company.example/oauth2/aus9o8wzkhckw9TLa0h7z",
            } => IssuerUnknown;
            "bound by DPoP": { "cnf": { "jkt": "2HR2BW5-tan1aI6y" } } => BindingMissing;
        }
        mistakes! { rows, ["Okta domain", "\"company.okta.com\""],
            |domain| AuthorizationServer::okta_custom(domain, "default").audience("a");
            "{yourOktaDomain}", "company-admin.okta.com", "https://company.okta.com/oauth2/default"
        }
        mistakes! { rows, ["Okta authorization server id", "\"default\""],
            |id| AuthorizationServer::okta_custom("company.okta.com", id).audience("a");
            "", "../x", "a/b", "a?b", "a#b", "https://company.okta.com/oauth2/default"
        }
    });
}

#[test]
fn okta_org() {
    table(|rows| {
        let id_token = json!({
            "sub": "00ujmkLgagxeRrAg20g3", "name": "Joe", "ver": 1,
            "iss": "https://company.okta.com",
            "aud": "0oa1client", "iat": NOW, "exp": NOW + 3_600,
            "jti": "ID.radCQMOQUmyvcTBmmIL0J6BaS60apUEiC7-vI7pOmkw", "amr": ["pwd"], "idp": "00o1",
            "nonce": "n-0S6", "preferred_username": "joe@company.example", "auth_time": NOW - 60,
            "at_hash": "fPlsvVszI29LU2UhDyJ9vg", "groups": ["Everyone", "OrderAdmins"],
        });
        let server = || AuthorizationServer::okta_org("company.okta.com").audience("0oa1client");
        let bench = Bench::new(server(), id_token.clone());
        refuses! { rows, bench;
            "ID token": {} => TokenTypeRejected;
        }

        // The keys of its access tokens are not published.
        let access_token = json!({
            "ver": 1, "jti": "AT.MNAoEQ_jbKqoinrQo1D0XKjMX28U5d7ZszBceot7-Ts",
            "iss": "https://company.okta.com", "aud": "https://company.okta.com",
            "sub": "joe@company.example", "iat": NOW, "exp": NOW + 3_600, "cid": "0oa1client",
            "uid": "00ujmkLgagxeRrAg20g3", "scp": ["openid", "groups"], "auth_time": NOW - 60,
        });
        let access_token = other_key().sign(&access_token);
        rows.refuses_token(&bench, "access token", &access_token, Kind::KeyUnknown);

        let server = server()
            .dangerous_accept_id_tokens()
            .roles(RoleMapping::new().grant(Role::Write, ["OrderAdmins"]));
        let bench = Bench::new(server, id_token);
        says! { rows, bench;
            "ID token, where they are accepted": {} => Says::default(), {
                subject: "00ujmkLgagxeRrAg20g3", groups: vec!["Everyone", "OrderAdmins"],
                grant: grant(Role::Write, "groups", "OrderAdmins")
            };
        }
        rows.refuses_token(&bench, "access token", &access_token, Kind::KeyUnknown);
        rows.refuses_the_usual(&bench);
        refuses! { rows, bench;
            "for another client": { "aud": "0oa2client" } => AudienceMismatch;
            "of a custom server": { "iss": "https://company.okta.com/oauth2/default" }
                => IssuerUnknown;
        }
        mistakes! { rows, ["Okta domain", "company.okta.com"],
            |domain| AuthorizationServer::okta_org(domain).audience("a");
            "yourOktaDomain.okta.com", "<your-domain>", "company.okta.com/x",
            "http://company.okta.com", "a?b"
        }
    });
}

#[test]
fn auth0() {
    table(|rows| {
        let server = || {
            AuthorizationServer::auth0("company.eu.auth0.com")
                .audience("https://orders.example")
                .groups_claim("https://app.example/roles")
                .roles(RoleMapping::new().grant(Role::Admin, ["admin"]))
        };
        // Auth0's own profile.
        let bench = Bench::new(
            server(),
            json!({
                "iss": "https://company.eu.auth0.com/", "sub": "auth0|507f1f77bcf86cd799439011",
                "aud": ["https://orders.example", "https://company.eu.auth0.com/userinfo"],
                "iat": NOW, "exp": NOW + 86_400, "azp": "my_client_id",
                "scope": "openid profile orders:read",
                "permissions": ["orders:read", "orders:delete"], "org_id": "org_9ybsU1dN2dKfDkBi",
                "org_name": "company", "https://app.example/roles": ["admin"],
            }),
        )
        .header(json!({ "typ": "JWT" }));
        let user = || Says {
            subject: "auth0|507f1f77bcf86cd799439011",
            client_id: Some("my_client_id"),
            scopes: vec!["openid", "profile", "orders:read"],
            groups: vec!["admin"],
            grant: grant(Role::Admin, "https://app.example/roles", "admin"),
            ..Says::default()
        };
        says! { rows, bench;
            "a user's": {} => user();
            "a client's own": {
                "sub": "my_client_id@clients", "gty": "client-credentials",
                "aud": "https://orders.example", "scope": "orders:read", "org_id": null,
                "org_name": null, "https://app.example/roles": null,
            } => Says::default(), {
                subject: "my_client_id@clients", client_id: Some("my_client_id"),
                scopes: vec!["orders:read"]
            };
        }
        rows.refuses_the_usual(&bench);
        refuses! { rows, bench;
            "ID token": {
                "aud": "my_client_id", "nonce": "n-0S6", "sid": "s1", "name": "Joe", "azp": null,
                "scope": null, "permissions": null,
            } => TokenTypeRejected;
            "ID token without nonce, for a client of this name": {
                "aud": "https://orders.example", "sid": "s1", "azp": null, "scope": null,
                "permissions": null,
            } => TokenTypeRejected;
            "for the userinfo endpoint": { "aud": "https://company.eu.auth0.com/userinfo" }
                => AudienceMismatch;
            "for the management API": { "aud": "https://company.eu.auth0.com/api/v2/" }
                => AudienceMismatch;
            "of another tenant": { "iss": "https://evil.eu.auth0.com/" } => IssuerUnknown;
            "of the custom domain": { "iss": "https://login.company.example/" } => IssuerUnknown;
            "of two clients": { "client_id": "other_client" } => ClaimInvalid;
            "roles in another shape": { "https://app.example/roles": "admin" } => ClaimInvalid;
        }

        // The profile of RFC 9068.
        let bench = Bench::new(
            server(),
            json!({
                "iss": "https://company.eu.auth0.com/", "sub": "auth0|507f1f77bcf86cd799439011",
                "aud": ["https://orders.example", "https://company.eu.auth0.com/userinfo"],
                "iat": NOW, "exp": NOW + 86_400, "client_id": "my_client_id",
                "jti": "4LhLPQrTVcsHdsX3iUyF8C", "scope": "openid profile orders:read",
                "permissions": ["orders:delete"], "https://app.example/roles": ["admin"],
            }),
        )
        .header(json!({ "typ": "at+jwt" }));
        says! { rows, bench;
            "RFC 9068": {} => user();
        }
        rows.refuses_the_usual(&bench);

        let bench = Bench::new(
            server().issuer_alias("https://login.company.example/"),
            bench.claims,
        );
        accepts! { rows, bench;
            "alias": { "iss": "https://login.company.example/" };
        }

        mistakes! { rows, ["Auth0 domain", "company.eu.auth0.com"],
            |domain| AuthorizationServer::auth0(domain).audience("a");
            "YOUR_DOMAIN", "{yourDomain}", "your-tenant.auth0.com", "company.eu.auth0.com/oauth",
            "a?b", "", "http://company.eu.auth0.com", "a b"
        }
    });
}

const TENANT: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
const PARTNER: &str = "bbbbcccc-1111-dddd-2222-eeee3333ffff";
const STRANGER: &str = "ccccdddd-2222-eeee-3333-ffff4444aaaa";
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const APP: &str = "00001111-aaaa-2222-bbbb-3333cccc4444";
const USER: &str = "11112222-bbbb-3333-cccc-4444dddd5555";
const STAFF: &str = "22223333-cccc-4444-dddd-5555eeee6666";
const ORDERS: &str = "33334444-dddd-5555-eeee-6666ffff7777";

fn v1(tenant: &str) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

fn v2(tenant: &str) -> String {
    format!("https://login.microsoftonline.com/{tenant}/v2.0")
}

/// A key as Entra lists it; of no issuer, without the member.
fn entra_jwk(key: &SigningKey, issuer: Option<&str>) -> Value {
    let issuer = json!({ "issuer": issuer, "x5t": key.kid(), "x5c": ["MIIC"], "alg": null });
    changed(&key.jwk(), &issuer)
}

const TEMPLATE: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";

fn entra_v2_claims() -> Value {
    json!({
        "aud": ORDERS, "iss": v2(TENANT), "iat": NOW, "nbf": NOW, "exp": NOW + 3_600,
        "aio": "AXQAi/8IAAAA",
        "azp": APP, "azpacr": "0", "groups": [STAFF], "name": "Abe Lincoln", "oid": USER,
        "preferred_username": "abe@company.example", "rh": "0.I", "roles": ["Orders.Admin"],
        "scp": "access_as_user orders.read", "sid": "s1",
        "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", "tid": TENANT,
        "uti": "fqiBqXLPj0eQa82S-IYFAA", "ver": "2.0",
        "wids": ["b79fbf4d-3ef9-4689-8143-76b194e85509"],
        "xms_cc": ["cp1"],
    })
}

fn entra_v1_claims() -> Value {
    json!({
        "aud": "api://orders", "iss": v1(TENANT), "iat": NOW, "nbf": NOW, "exp": NOW + 3_600,
        "acr": "1",
        "aio": "AXQAi/8TAAAA", "amr": ["pwd", "mfa"], "appid": APP, "appidacr": "0",
        "family_name": "Lincoln", "given_name": "Abe", "groups": [STAFF], "ipaddr": "192.0.2.1",
        "name": "Abe Lincoln", "oid": USER, "rh": "0.I", "scp": "access_as_user orders.read",
        "sub": "l3_roISQU222bULS9yi2k0XpqpOiMz5H3ZACo1GeXA", "tid": TENANT,
        "unique_name": "abe@company.example", "upn": "abe@company.example",
        "uti": "FVsGxYXI30-TuikuuUoFAA", "ver": "1.0",
    })
}

fn entra_roles() -> RoleMapping {
    RoleMapping::new()
        .grant(Role::Admin, ["Orders.Admin"])
        .grant(Role::Read, [STAFF])
}

#[test]
fn entra() {
    table(|rows| {
        let server = || {
            AuthorizationServer::entra(TENANT)
                .audience(ORDERS)
                .audience("api://orders")
                .roles(entra_roles())
        };
        let jwks = [entra_jwk(key(), Some(TEMPLATE))];
        let bench = Bench::new(server(), entra_v2_claims())
            .header(json!({ "typ": "JWT" }))
            .jwks(&jwks);
        says! { rows, bench;
            "v2": {} => Says::default(), {
                subject: "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", client_id: Some(APP),
                user_id: Some(USER), scopes: vec!["access_as_user", "orders.read"],
                groups: vec!["Orders.Admin", STAFF],
                grant: grant(Role::Admin, "roles", "Orders.Admin")
            };
            "v2, a client's own": {
                "azpacr": "1", "groups": null, "name": null, "preferred_username": null,
                "scp": null, "sid": null, "sub": USER, "wids": null, "idtyp": "app",
            } => Says::default(), {
                subject: USER, client_id: Some(APP), user_id: Some(USER),
                groups: vec!["Orders.Admin"], grant: grant(Role::Admin, "roles", "Orders.Admin")
            };
            "v2, claims of other products": {
                "scope": "orders.write", "uid": "x", "cid": "x", "groups": null, "roles": null,
            } => Says::default(), {
                subject: "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", client_id: Some(APP),
                user_id: Some(USER), scopes: vec!["access_as_user", "orders.read"]
            };
        }
        rows.refuses_the_usual(&bench);
        refuses! { rows, bench;
            "ID token": { "azp": null, "azpacr": null, "scp": null, "nonce": "n-0S6" }
                => TokenTypeRejected;
            "ID token without nonce": { "azp": null, "azpacr": null, "scp": null }
                => TokenTypeRejected;
            "for Microsoft Graph": { "aud": "00000003-0000-0000-c000-000000000000" }
                => AudienceMismatch;
            "of another tenant": { "iss": v2(STRANGER), "tid": STRANGER } => IssuerUnknown;
            "of consumers": { "iss": v2(CONSUMERS), "tid": CONSUMERS } => IssuerUnknown;
            "tenant is not the issuer's": { "tid": STRANGER } => ClaimRejected;
            "tenant in capitals": { "tid": TENANT.to_uppercase() } => ClaimRejected;
            "tenant is a domain": { "tid": "company.example" } => ClaimRejected;
            "no tenant": { "tid": null } => ClaimInvalid;
            "tenants": { "tid": [TENANT] } => ClaimInvalid;
            "issuer of the template": { "iss": TEMPLATE, "tid": "{tenantid}" } => IssuerUnknown;
            "issuer of common": { "iss": v2("common"), "tid": "common" } => IssuerUnknown;
            "v1 issuer without slash": { "iss": v1(TENANT).trim_end_matches('/') } => IssuerUnknown;
            "half v1, half v2": { "iss": format!("https://sts.windows.net/{TENANT}/v2.0") }
                => IssuerUnknown;
            "without version": { "iss": format!("https://login.microsoftonline.com/{TENANT}/") }
                => IssuerUnknown;
            "national cloud": { "iss": format!("https://login.microsoftonline.us/{TENANT}/v2.0") }
                => IssuerUnknown;
            "two clients": { "appid": STAFF } => ClaimInvalid;
            "proof of possession": { "cnf": { "kid": "x" } } => BindingMissing;
        }

        let v1_bench = Bench::new(server(), entra_v1_claims())
            .header(json!({ "typ": "JWT", "x5t": key().kid() }))
            .jwks(&jwks);
        says! { rows, v1_bench;
            "v1": {} => Says::default(), {
                subject: "l3_roISQU222bULS9yi2k0XpqpOiMz5H3ZACo1GeXA", client_id: Some(APP),
                user_id: Some(USER), scopes: vec!["access_as_user", "orders.read"],
                groups: vec![STAFF], grant: grant(Role::Read, "groups", STAFF)
            };
        }
        rows.refuses_the_usual(&v1_bench);
        refuses! { rows, v1_bench;
            "v1 ID token": { "appid": null, "appidacr": null, "scp": null, "aud": ORDERS }
                => TokenTypeRejected;
            "v1 of another tenant": { "iss": v1(STRANGER), "tid": STRANGER } => IssuerUnknown;
            "v1, tenant is not the issuer's": { "tid": STRANGER } => ClaimRejected;
        }

        // Which keys may sign for the tenant.
        let in_another_case = "https://login.microsoftonline.com/{TenantId}/v2.0";
        let in_another_cloud = "https://login.microsoftonline.us/{tenantid}/v2.0";
        let unknown = Some(Kind::IssuerUnknown);
        for (name, issuer, expected) in [
            ("key of every tenant", Some(TEMPLATE), None),
            (
                "key of every tenant, in another case",
                Some(in_another_case),
                None,
            ),
            ("key of the tenant", Some(&*v2(TENANT)), None),
            ("key of consumers", Some(&*v2(CONSUMERS)), unknown),
            ("key of another tenant", Some(&*v2(STRANGER)), unknown),
            ("key of another cloud", Some(in_another_cloud), unknown),
            ("key of nobody", None, unknown),
        ] {
            for claims in [entra_v2_claims(), entra_v1_claims()] {
                let bench = Bench::new(server(), claims).jwks(&[entra_jwk(key(), issuer)]);
                let found = bench.judge(&json!({})).err().map(|r| r.kind());
                rows.same(name, &found, &expected);
            }
        }

        // Ids of tenants are GUIDs; tokens have them in small letters.
        let shouted = TENANT.to_uppercase();
        let bench = Bench::new(
            AuthorizationServer::entra(&shouted).audience(ORDERS),
            entra_v2_claims(),
        )
        .jwks(&jwks);
        accepts! { rows, bench;
            "configured in capitals": {};
        }

        mistakes! { rows, ["tenant", "directory (tenant) id"],
            |tenant| AuthorizationServer::entra(tenant).audience("a");
            "", "common", "organizations", "consumers", "company.onmicrosoft.com", "{tenant}",
            "../x", "a/b", "a?b", "a#b", &TENANT[1..]
        }
    });
}

/// A user of too many groups. What is missing must not be taken for what is not there.
#[test]
fn entra_groups_overage() {
    table(|rows| {
        let server = || {
            AuthorizationServer::entra(TENANT)
                .audience(ORDERS)
                .roles(entra_roles())
        };
        let bench = |server| {
            let bench = Bench::new(
                server,
                changed(
                    &entra_v2_claims(),
                    &json!({ "groups": null, "roles": null }),
                ),
            );
            bench.jwks(&[entra_jwk(key(), Some(TEMPLATE))])
        };
        let tells = |server, changes: &Value| {
            let token = bench(server).judge(changes).map_err(|r| r.kind())?;
            let verdict = |role| token.require_role(role).err().map(|r| r.kind());
            Ok((
                token.groups_complete(),
                token.role(),
                verdict(Role::Read),
                verdict(Role::Admin),
            ))
        };
        let unknown = Some(Kind::GroupsIncomplete);
        let lacking = Some(Kind::RoleInsufficient);
        for (name, (), changes, expected) in cases! {
            "no groups", (), {} => Ok((true, None, lacking, lacking));
            "overage", (), {
                "_claim_names": { "groups": "src1" },
                "_claim_sources": { "src1": { "endpoint": "https://graph.windows.net/t/users/u" } },
            } => Ok((false, None, unknown, unknown));
            "without sources", (), { "_claim_names": { "groups": "src1" } }
                => Ok((false, None, unknown, unknown));
            "implicit flow", (), { "hasgroups": true } => Ok((false, None, unknown, unknown));
            "implicit flow, in words", (), { "hasgroups": "true" }
                => Ok((false, None, unknown, unknown));
            "not so", (), { "hasgroups": false } => Ok((true, None, lacking, lacking));
            "some groups all the same", (), {
                "_claim_names": { "groups": "src1" }, "groups": [STAFF],
            } => Ok((false, Some(Role::Read), None, unknown));
            "a role that is there", (), {
                "_claim_names": { "groups": "src1" }, "roles": ["Orders.Admin"],
            } => Ok((false, Some(Role::Admin), None, None));
            "another role", (), { "_claim_names": { "groups": "src1" }, "roles": ["Orders.Other"] }
                => Ok((false, None, unknown, unknown));
            "other claims elsewhere", (), { "_claim_names": { "address": "src1" } }
                => Ok((true, None, lacking, lacking));
            "nothing elsewhere", (), { "_claim_names": {} } => Ok((true, None, lacking, lacking));
            "in another shape", (), { "_claim_names": ["groups"] } => Err(Kind::ClaimInvalid);
        } {
            rows.same(name, &tells(server(), &changes), &expected);
        }
        // Of groups that do not count, none is missed.
        let app_roles = server().groups_claim("roles");
        let found = tells(app_roles, &json!({ "_claim_names": { "groups": "src1" } }));
        rows.same(
            "app roles alone",
            &found,
            &Ok((true, None, lacking, lacking)),
        );
    });
}

#[test]
fn entra_of_several_tenants() {
    table(|rows| {
        let consumers_key = entra_jwk(other_key(), Some(&v2(CONSUMERS)));
        let jwks = [entra_jwk(key(), Some(TEMPLATE)), consumers_key];
        let server = AuthorizationServer::entra_multi_tenant([TENANT, PARTNER])
            .audience(ORDERS)
            .roles(entra_roles());
        let bench = Bench::new(server, entra_v2_claims()).jwks(&jwks);
        let says = || Says {
            subject: "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
            client_id: Some(APP),
            user_id: Some(USER),
            scopes: vec!["access_as_user", "orders.read"],
            groups: vec!["Orders.Admin", STAFF],
            grant: grant(Role::Admin, "roles", "Orders.Admin"),
            ..Says::default()
        };
        says! { rows, bench;
            "the one": {} => says();
            "the other": { "iss": v2(PARTNER), "tid": PARTNER } => says();
            "v1": { "iss": v1(PARTNER), "tid": PARTNER } => says();
        }
        rows.refuses_the_usual(&bench);
        refuses! { rows, bench;
            "not on the list": { "iss": v2(STRANGER), "tid": STRANGER } => IssuerUnknown;
            "v1, not on the list": { "iss": v1(STRANGER), "tid": STRANGER } => IssuerUnknown;
            "says it is on the list": { "iss": v2(STRANGER) } => IssuerUnknown;
            "one on the list as the other": { "tid": PARTNER } => ClaimRejected;
            "not a GUID": { "iss": v2("organizations"), "tid": "organizations" } => IssuerUnknown;
            "more than a GUID": { "iss": v2(&format!("{TENANT}/x")) } => IssuerUnknown;
            "consumers": { "iss": v2(CONSUMERS), "tid": CONSUMERS } => IssuerUnknown;
            "ID token": { "azp": null, "scp": null } => TokenTypeRejected;
        }
        let consumers = other_key().sign(&entra_v2_claims());
        rows.refuses_token(&bench, "key of consumers", &consumers, Kind::IssuerUnknown);
        let bench = bench.jwks(&[entra_jwk(key(), None)]);
        refuses! { rows, bench;
            "key of nobody": {} => IssuerUnknown;
        }

        let server = AuthorizationServer::dangerous_entra_any_tenant().audience(ORDERS);
        let bench = Bench::new(server, entra_v2_claims()).jwks(&jwks);
        rows.refuses_the_usual(&bench);
        accepts! { rows, bench;
            "any tenant": { "iss": v2(STRANGER), "tid": STRANGER };
            "any tenant, v1": { "iss": v1(STRANGER), "tid": STRANGER };
        }
        refuses! { rows, bench;
            "any, not the issuer's": { "tid": STRANGER } => ClaimRejected;
            "any, without tenant": { "tid": null } => ClaimInvalid;
            "any, not a GUID": { "iss": v2("common"), "tid": "common" } => IssuerUnknown;
            "any, ID token": { "azp": null, "scp": null } => TokenTypeRejected;
        }
        rows.refuses_token(
            &bench,
            "any, key of consumers",
            &consumers,
            Kind::IssuerUnknown,
        );
        let own = changed(
            &entra_v2_claims(),
            &json!({ "iss": v2(CONSUMERS), "tid": CONSUMERS }),
        );
        rows.same(
            "consumers",
            &bench.judge_token(&other_key().sign(&own)).is_ok(),
            &true,
        );

        for tenants in [
            &[][..],
            &["common"],
            &[TENANT, "partner.example"],
            &[TENANT, "{tenant}"],
        ] {
            let server =
                AuthorizationServer::entra_multi_tenant(tenants.iter().copied()).audience("a");
            rows.mistake(
                &format!("{tenants:?}"),
                server,
                &["tenant", "directory (tenant) id"],
            );
        }
    });
}

/// A tenant has one policy, whichever is listed first.
#[test]
fn entra_tenants_are_trusted_once() {
    table(|rows| {
        let one = || AuthorizationServer::entra(TENANT).audience(ORDERS);
        let two = || AuthorizationServer::entra_multi_tenant([TENANT, PARTNER]).audience(ORDERS);
        let plain = || {
            AuthorizationServer::with_issuer(v1(TENANT), "https://login.microsoftonline.com/keys")
                .audience(ORDERS)
        };
        let build = |first, second| ResourceServer::builder().trust(first).trust(second).build();
        for (name, built) in [
            ("twice", build(one(), one())),
            ("on two lists", build(two(), two())),
            ("alone and on a list", build(one(), two())),
            ("on a list and alone", build(two(), one())),
            ("with and without a preset", build(one(), plain())),
        ] {
            let is_found = matches!(built, Err(ConfigError::DuplicateIssuer { .. }));
            rows.same(name, &is_found, &true);
        }
        // What is said of one counts before what is said of all.
        let strict = || {
            AuthorizationServer::entra(TENANT)
                .audience(ORDERS)
                .allowed_clients(["another"])
        };
        let any = || AuthorizationServer::dangerous_entra_any_tenant().audience(ORDERS);
        for (name, built) in [
            ("one, then all", build(strict(), any())),
            ("all, then one", build(any(), strict())),
        ] {
            let bench = Bench {
                resource_server: built.unwrap(),
                ..Bench::new(any(), entra_v2_claims())
            };
            let bench = bench.jwks(&[entra_jwk(key(), Some(TEMPLATE))]);
            rows.refuses(&bench, name, json!({}), Kind::ClientNotAllowed);
        }
    });
}

#[test]
fn keycloak() {
    table(|rows| {
        let server = || {
            AuthorizationServer::keycloak("https://id.company.example", "company")
                .audience("orders.api")
                .also_groups_claim(ClaimPath::nested([
                    "resource_access",
                    "orders.api",
                    "roles",
                ]))
                .also_groups_claim("groups")
                .roles(
                    RoleMapping::new()
                        .grant(Role::Admin, ["orders-admin"])
                        .grant(Role::Write, ["/staff/editors"])
                        .grant(Role::Read, ["staff"]),
                )
        };
        let claims = json!({
            "exp": NOW + 300, "iat": NOW, "auth_time": NOW - 60, "jti": "onrtac:6bd1a8bf-3e8f",
            "iss": "https://id.company.example/realms/company", "aud": ["orders.api", "account"],
            "sub": "f7a1bb1a-cd21-4b0f-9d2e-0f2c4a5d6e7f", "typ": "Bearer", "azp": "orders-web",
            "sid": "b1d3", "acr": "1", "allowed-origins": ["https://orders.example"],
            "realm_access": { "roles": ["default-roles-company", "offline_access", "staff"] },
            "resource_access": {
                "orders.api": { "roles": ["orders-admin"] },
                "account": { "roles": ["manage-account", "view-profile"] },
            },
            "scope": "openid profile email", "email_verified": true, "name": "Joe",
            "groups": ["/staff/editors"],
            "preferred_username": "joe", "email": "joe@company.example",
        });
        let bench = Bench::new(server(), claims.clone()).header(json!({ "typ": "JWT" }));
        let user = || Says {
            subject: "f7a1bb1a-cd21-4b0f-9d2e-0f2c4a5d6e7f",
            client_id: Some("orders-web"),
            scopes: vec!["openid", "profile", "email"],
            groups: vec![
                "default-roles-company",
                "offline_access",
                "staff",
                "orders-admin",
                "/staff/editors",
            ],
            grant: grant(
                Role::Admin,
                "/resource_access/orders.api/roles",
                "orders-admin",
            ),
            ..Says::default()
        };
        says! { rows, bench;
            "a user's": {} => user();
            "up to version 23": { "nonce": "n-0S6", "session_state": "b1d3" } => user();
            "of the realm's roles alone": { "resource_access": {}, "groups": null } => user(), {
                groups: vec!["default-roles-company", "offline_access", "staff"],
                grant: grant(Role::Read, "/realm_access/roles", "staff")
            };
            "a client's own": {
                "azp": "worker", "client_id": "worker", "clientHost": "192.0.2.1",
                "clientAddress": "192.0.2.1", "preferred_username": "service-account-worker",
                "scope": "profile email", "sid": null, "auth_time": null, "realm_access": null,
                "resource_access": null,
            } => user(), {
                client_id: Some("worker"), scopes: vec!["profile", "email"],
                groups: vec!["/staff/editors"],
                grant: grant(Role::Write, "groups", "/staff/editors")
            };
            "roles of other clients, and of names that read alike": {
                "resource_access": {
                    "orders": { "api": { "roles": ["orders-admin"] } },
                    "orders-web": { "roles": ["orders-admin"] },
                    "ORDERS.API": { "roles": ["orders-admin"] },
                },
                "/resource_access/orders.api/roles": ["orders-admin"],
                "realm_access.roles": ["orders-admin"], "roles": ["orders-admin"],
                "realm_access": { "roles": [] }, "groups": [],
            } => user(), { groups: vec![], grant: None };
        }
        rows.refuses_the_usual(&bench);
        refuses! { rows, bench;
            "ID token, of the API as a client": {
                "typ": "ID", "aud": "orders.api", "azp": "orders.api", "nonce": "n-0S6",
                "at_hash": "x", "scope": null, "realm_access": null, "resource_access": null,
            } => TokenTypeRejected;
            "ID token with roles": { "typ": "ID" } => TokenTypeRejected;
            "refresh token": { "typ": "Refresh" } => TokenTypeRejected;
            "offline token": { "typ": "Offline" } => TokenTypeRejected;
            "signed user info": { "typ": null } => TokenTypeRejected;
            "type in small letters": { "typ": "bearer" } => TokenTypeRejected;
            "bound by DPoP": { "typ": "DPoP", "cnf": { "jkt": "x" } } => BindingMissing;
            "bound by a certificate": { "cnf": { "x5t#S256": "x", "other": 1 } } => BindingMissing;
            "of every client of the realm": { "aud": "account" } => AudienceMismatch;
            "for a client of a like name": { "aud": ["orders", "orders.api.evil", "account"] }
                => AudienceMismatch;
            "of another realm": { "iss": "https://id.company.example/realms/master" }
                => IssuerUnknown;
            "of the old path": { "iss": "https://id.company.example/auth/realms/company" }
                => IssuerUnknown;
            "by the name within the cluster": { "iss": "http://keycloak:8080/realms/company" }
                => IssuerUnknown;
            "two clients": { "client_id": "other" } => ClaimInvalid;
            "roles in another shape": { "realm_access": ["orders-admin"] } => ClaimInvalid;
            "one role that is none": { "realm_access": { "roles": ["staff", 1] } } => ClaimInvalid;
        }

        // The set has a key for encryption, which signs nothing.
        let enc = |changes| changed(&other_key().jwk(), &changes);
        let bench = bench.jwks(&[
            enc(json!({ "kid": "enc-1", "use": "enc", "alg": "RSA-OAEP" })),
            enc(json!({ "kid": "enc-2", "use": "enc", "alg": null })),
            key().jwk(),
        ]);
        rows.same("keys", &(bench.keys.len(), bench.keys.left_out()), &(1, 2));
        accepts! { rows, bench;
            "beside a key for encryption": {};
        }
        for kid in ["enc-1", "enc-2"] {
            let token = other_key().clone().with_kid(kid).sign(&claims);
            rows.refuses_token(&bench, kid, &token, Kind::KeyUnknown);
        }

        let server = AuthorizationServer::keycloak("id.company.example/auth/", "company")
            .audience("orders.api");
        let bench = Bench::new(server, claims);
        accepts! { rows, bench;
            "of the old path": { "iss": "https://id.company.example/auth/realms/company" };
        }

        mistakes! { rows, ["Keycloak URL", "https://id.company.example"],
            |url| AuthorizationServer::keycloak(url, "company").audience("a");
            "", "{url}", "https://<host>", "http://id.company.example",
            "https://id.company.example?x", "ftp://id.company.example", "a b"
        }
        mistakes! { rows, ["Keycloak URL", "only what is in front of \"/realms/…\""],
            |url| AuthorizationServer::keycloak(url, "company").audience("a");
            "https://id.company.example/realms/company", "id.company.example/auth/realms/"
        }
        mistakes! { rows, ["Keycloak realm", "\"company\""],
            |realm| AuthorizationServer::keycloak("https://a.example", realm).audience("a");
            "", "{realm}", "../x", "..", "a/b", "a?b", "a#b", "a%2fb", "company "
        }
    });
}

#[test]
fn cognito() {
    const CLIENT: &str = "1example23456789";
    const ISSUER: &str = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_a1B2c3D4e";
    table(|rows| {
        let roles = || RoleMapping::new().grant(Role::Write, ["editors"]);
        let access_token = json!({
            "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "device_key": "eu-west-1_aaaa",
            "cognito:groups": ["staff", "editors"], "iss": ISSUER, "version": 2,
            "client_id": CLIENT,
            "origin_jti": "o1", "event_id": "e1", "token_use": "access",
            "scope": "openid orders/read",
            "auth_time": NOW - 60, "exp": NOW + 3_600, "iat": NOW, "jti": "j1", "username": "joe",
        });
        let id_token = json!({
            "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": ["staff", "editors"],
            "email_verified": true, "iss": ISSUER, "cognito:username": "joe", "nonce": "n-0S6",
            "cognito:preferred_role": "arn:aws:iam::111122223333:role/r", "origin_jti": "o1",
            "cognito:roles": ["arn:aws:iam::111122223333:role/r"], "aud": CLIENT, "event_id": "e1",
            "identities": [{ "userId": "1", "providerName": "Okta", "primary": "true" }],
            "token_use": "id",
            "auth_time": NOW - 60, "exp": NOW + 3_600, "iat": NOW, "jti": "j2",
            "email": "joe@company.example",
            "at_hash": "x",
        });
        let server =
            || AuthorizationServer::cognito("eu-west-1", "eu-west-1_a1B2c3D4e").audience(CLIENT);
        let bench = Bench {
            audience: "client_id",
            ..Bench::new(server().roles(roles()), access_token.clone())
        };
        let user = || Says {
            subject: "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
            client_id: Some(CLIENT),
            scopes: vec!["openid", "orders/read"],
            groups: vec!["staff", "editors"],
            grant: grant(Role::Write, "cognito:groups", "editors"),
            ..Says::default()
        };
        says! { rows, bench;
            "a user's": {} => user();
            "a client's own": {
                "sub": CLIENT, "scope": "orders/read", "cognito:groups": null, "device_key": null,
                "username": null, "origin_jti": null, "event_id": null,
            } => Says::default(), {
                subject: CLIENT, client_id: Some(CLIENT), scopes: vec!["orders/read"]
            };
        }
        rows.refuses_the_usual(&bench);
        let as_id_token = json!({
            "client_id": null, "scope": null, "version": null, "username": null, "device_key": null,
            "aud": CLIENT, "token_use": "id", "nonce": "n-0S6", "at_hash": "x",
            "cognito:username": "joe",
        });
        refuses! { rows, bench;
            "ID token": (as_id_token) => TokenTypeRejected;
            "use of an ID token": { "token_use": "id" } => TokenTypeRejected;
            "use in capitals": { "token_use": "ACCESS" } => TokenTypeRejected;
            "other use": { "token_use": "refresh" } => TokenTypeRejected;
            "no use": { "token_use": null } => TokenTypeRejected;
            "of another client": { "client_id": "2example23456789" } => AudienceMismatch;
            "of another pool": {
                "iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_XXXXXXXXX",
            } => IssuerUnknown;
            "of an identity pool": { "iss": "https://cognito-identity.amazonaws.com" }
                => IssuerUnknown;
            "of the replica": {
                "iss": "https://cognito-idp.eu-west-2.amazonaws.com/eu-west-1_a1B2c3D4e",
            } => IssuerUnknown;
            // A client may have a token bound to one API; RFC 7519 §4.1.3.
            "bound to another API": { "aud": "https://other.example" } => AudienceMismatch;
        }
        let bound = Bench::new(
            server().audience("https://orders.example"),
            access_token.clone(),
        );
        accepts! { rows, bound;
            "bound to this API": { "aud": "https://orders.example" };
        }

        let server = AuthorizationServer::cognito_id_tokens("eu-west-1", "eu-west-1_a1B2c3D4e")
            .audience(CLIENT);
        let bench = Bench::new(server.roles(roles()), id_token);
        says! { rows, bench;
            "ID token, where they are asked for": {} => user(), { scopes: vec![] };
        }
        rows.refuses_the_usual(&bench);
        refuses! { rows, bench;
            "access token": {
                "token_use": "access", "aud": null, "client_id": CLIENT, "nonce": null,
                "at_hash": null, "scope": "openid", "version": 2, "username": "joe",
            } => TokenTypeRejected;
            "no use": { "token_use": null } => TokenTypeRejected;
            "of another client": { "aud": "2example23456789" } => AudienceMismatch;
        }

        let both = [
            AuthorizationServer::cognito,
            AuthorizationServer::cognito_id_tokens,
        ];
        for preset in both {
            mistakes! { rows, ["Cognito region", "\"eu-west-1\""],
                |region| preset(region, &format!("{region}_a1B2c3D4e")).audience("a");
                "", "{region}", "eu-west-1/x", "../x", "a?b", "eu-west-1.example"
            }
            mistakes! { rows, ["Cognito user pool id", "\"eu-west-1_a1B2c3D4e\""],
                |pool| preset("eu-west-1", pool).audience("a");
                "", "{poolId}", "a1B2c3D4e", "us-east-1_a1B2c3D4e", "eu-west-1_", "eu-west-1_../x",
                "eu-west-1_a/b", "eu-west-1_a?b"
            }
        }
    });
}

#[test]
fn google_id_tokens() {
    const CLIENT: &str = "1234987819200.apps.googleusercontent.com";
    table(|rows| {
        let server = || AuthorizationServer::google_id_tokens().audience(CLIENT);
        let claims = json!({
            "iss": "https://accounts.google.com", "azp": CLIENT, "aud": CLIENT,
            "sub": "10769150350006150715113082367",
            "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q", "hd": "company.example",
            "email": "joe@company.example",
            "email_verified": true, "iat": NOW, "exp": NOW + 3_600,
            "nonce": "0394852-3190485-2490358",
            "name": "Joe", "picture": "https://lh3.example/p", "locale": "en",
        });
        let bench = Bench::new(server(), claims.clone()).header(json!({ "typ": "JWT" }));
        let user = || Says {
            subject: "10769150350006150715113082367",
            client_id: Some(CLIENT),
            ..Says::default()
        };
        says! { rows, bench;
            "a user's": {} => user();
            "by the short issuer": { "iss": "accounts.google.com" } => user();
        }
        rows.refuses_the_usual(&bench);
        refuses! { rows, bench;
            "for another client": { "aud": "5678.apps.googleusercontent.com" } => AudienceMismatch;
            "a stranger's service account, which asked for our audience": { "azp": "1098" }
                => ClientNotAllowed;
            "of nobody's client": { "azp": null } => ClientNotAllowed;
            "short issuer with a slash": { "iss": "accounts.google.com/" } => IssuerUnknown;
            "short issuer in capitals": { "iss": "Accounts.google.com" } => IssuerUnknown;
            "of another service of Google": { "iss": "https://securetoken.google.com/company-app" }
                => IssuerUnknown;
        }
        let ours = Bench::new(server().allowed_clients(["1098"]), claims.clone());
        says! { rows, ours;
            "our own service account": { "azp": "1098" } => user(), { client_id: Some("1098") };
        }
        let server = server()
            .require_claim_value("hd", ["company.example"])
            .require_claim_value("email_verified", [true]);
        let bench = Bench::new(server, claims);
        accepts! { rows, bench;
            "of the company": {};
        }
        refuses! { rows, bench;
            "of another company": { "hd": "evil.example", "email": "joe@evil.example" }
                => ClaimRejected;
            "of nobody's domain": { "hd": null, "email": "joe@gmail.com" } => ClaimRejected;
            "a stranger's service account": {
                "hd": null, "azp": "1098", "email": "x@evil.iam.gserviceaccount.com",
            } => ClientNotAllowed;
            "domain in capitals": { "hd": "COMPANY.example" } => ClaimRejected;
            "email not verified": { "email_verified": false } => ClaimRejected;
            "email verified, in words": { "email_verified": "true" } => ClaimRejected;
            "email, nothing said": { "email_verified": null } => ClaimRejected;
        }
    });
}

#[test]
fn google_iap() {
    const SERVICE: &str = "/projects/123456/global/backendServices/7890";
    table(|rows| {
        let header = HeaderName::from_static("x-goog-iap-jwt-assertion");
        let server = AuthorizationServer::google_iap().audience(SERVICE);
        let resource_server = ResourceServer::builder()
            .trust(server.clone())
            .token_header(header.clone())
            .build()
            .unwrap();
        let claims = json!({
            "iss": "https://cloud.google.com/iap", "aud": SERVICE, "azp": SERVICE,
            "hd": "company.example",
            "email": "joe@company.example", "sub": "accounts.google.com:1096920190", "iat": NOW,
            "exp": NOW + 600, "google": { "access_levels": ["accessPolicies/1/accessLevels/corp"] },
        });
        let bench = Bench {
            resource_server,
            token_header: Some(header),
            ..Bench::with_key(server, ec_key(), claims.clone()).header(json!({ "typ": "JWT" }))
        };
        says! { rows, bench;
            "a user's": {} => Says::default(), { subject: "accounts.google.com:1096920190" };
        }
        rows.refuses_the_usual(&bench);
        refuses! { rows, bench;
            "for another service": { "aud": "/projects/123456/global/backendServices/7891" }
                => AudienceMismatch;
            "for an application of the project": { "aud": "/projects/123456/apps/company" }
                => AudienceMismatch;
            "of a Google account": { "iss": "https://accounts.google.com" } => IssuerUnknown;
        }
        let bench = bench.jwks(&[key().jwk(), ec_key().jwk()]);
        rows.refuses_token(
            &bench,
            "by an RSA key",
            &key().sign(&claims),
            Kind::AlgorithmRejected,
        );
        let elsewhere = Bench {
            token_header: None,
            ..bench
        };
        refuses! { rows, elsewhere;
            "in the client's own header": {} => TokenMissing;
        }
    });
}

#[test]
fn firebase() {
    table(|rows| {
        let server = || {
            AuthorizationServer::firebase("company-app")
                .groups_claim("team")
                .roles(RoleMapping::new().grant(Role::Read, ["support"]))
        };
        let claims = json!({
            "name": "Joe", "picture": "https://lh3.example/p",
            "iss": "https://securetoken.google.com/company-app",
            "aud": "company-app", "auth_time": NOW - 60, "user_id": "mJr5RWnTkKZ",
            "sub": "mJr5RWnTkKZ",
            "iat": NOW, "exp": NOW + 3_600, "email": "joe@company.example", "email_verified": true,
            "team": ["support"],
            "firebase": {
                "identities": { "email": ["joe@company.example"] }, "sign_in_provider": "password",
            },
        });
        let bench = Bench::new(server(), claims.clone()).header(json!({ "typ": "JWT" }));
        says! { rows, bench;
            "a user's": {} => Says::default(), {
                subject: "mJr5RWnTkKZ", groups: vec!["support"],
                grant: grant(Role::Read, "team", "support")
            };
            "claims of one's own, named like those of others": {
                "client_id": "x", "cid": "y", "groups": ["admins"], "team": null,
            } => Says::default(), { subject: "mJr5RWnTkKZ" };
        }
        rows.refuses_the_usual(&bench);
        refuses! { rows, bench;
            "of another project": {
                "iss": "https://securetoken.google.com/evil-app", "aud": "evil-app",
            } => IssuerUnknown;
            "of another project, for this one": { "iss": "https://securetoken.google.com/evil-app" }
                => IssuerUnknown;
            "of this project, for another": { "aud": "evil-app" } => AudienceMismatch;
            "session cookie": { "iss": "https://session.firebase.google.com/company-app" }
                => IssuerUnknown;
            "custom token": {
                "iss": "firebase-adminsdk@company-app.iam.gserviceaccount.com",
                "uid": "mJr5RWnTkKZ",
                "aud": "https://identitytoolkit.googleapis.com/google.identity",
            } => IssuerUnknown;
            // Firebase: must be a non-empty string.
            "of nobody": { "sub": "" } => ClaimInvalid;
        }
        let server = server()
            .require_claim_value("/firebase/sign_in_provider", ["password"])
            .forbid_claim("/firebase/tenant");
        let bench = Bench::new(server, claims);
        accepts! { rows, bench;
            "by password": {};
        }
        let anonymous = json!({ "identities": {}, "sign_in_provider": "anonymous" });
        let of_tenant =
            json!({ "identities": {}, "sign_in_provider": "password", "tenant": "evil-x7q" });
        refuses! { rows, bench;
            "anonymous": { "firebase": anonymous } => ClaimRejected;
            "of a tenant": { "firebase": of_tenant } => ClaimRejected;
            "nothing said": { "firebase": null } => ClaimRejected;
            "in another shape": { "firebase": "password" } => ClaimInvalid;
        }
        mistakes! { rows, ["Firebase project id", "\"company-app\""],
            |project| AuthorizationServer::firebase(project);
            "", "{projectId}", "<project>", "../x", "a/b", "a?b", "a#b", "company app"
        }
    });
}

#[test]
fn pingone() {
    const ENVIRONMENT: &str = "abfba8f6-49eb-49f5-a5d9-80ad5c98f9f6";
    const CLIENT: &str = "2f1b9bd4-cb1a-4b3a-9e2c-f3a0e6d2b1c0";
    table(|rows| {
        let server = |environment: &str| {
            AuthorizationServer::pingone("auth.pingone.eu", environment)
                .audience("https://orders.example")
                .roles(RoleMapping::new().grant(Role::Admin, ["orders:admin"]))
        };
        let claims = json!({
            "client_id": CLIENT, "iss": format!("https://auth.pingone.eu/{ENVIRONMENT}/as"),
            "iat": NOW,
            "exp": NOW + 3_600, "aud": ["https://orders.example"], "scope": "openid orders:read",
            "sub": "0f9aa3b1-0000-4c1a-8f7e-1c2d3e4f5a6b", "sid": "s1", "auth_time": NOW - 60,
            "acr": "Single_Factor", "jti": "j1", "p1.permissions": ["orders:read", "orders:admin"],
            "groups": ["staff"],
        });
        let bench = Bench::new(server(ENVIRONMENT), claims.clone()).header(json!({ "x5t": "x" }));
        let user = || Says {
            subject: "0f9aa3b1-0000-4c1a-8f7e-1c2d3e4f5a6b",
            client_id: Some(CLIENT),
            scopes: vec!["openid", "orders:read"],
            groups: vec!["staff", "orders:read", "orders:admin"],
            grant: grant(Role::Admin, "p1.permissions", "orders:admin"),
            ..Says::default()
        };
        says! { rows, bench;
            "a user's": {} => user();
        }
        rows.refuses_the_usual(&bench);
        refuses! { rows, bench;
            "ID token": {
                "aud": CLIENT, "client_id": null, "scope": null, "at_hash": "x", "amr": ["pwd"],
                "env": ENVIRONMENT, "org": "5d5d", "p1.region": "EU", "p1.permissions": null,
            } => TokenTypeRejected;
            "ID token without hash, for a client of this name": { "client_id": null, "scope": null }
                => TokenTypeRejected;
            "for PingOne's API": { "aud": ["https://api.pingone.eu"] } => AudienceMismatch;
            "of another environment": { "iss": format!("https://auth.pingone.eu/{TENANT}/as") }
                => IssuerUnknown;
            "of another region": { "iss": format!("https://auth.pingone.com/{ENVIRONMENT}/as") }
                => IssuerUnknown;
            "nested permissions": {
                "p1.permissions": null, "p1": { "permissions": [1] }, "groups": "staff",
            } => ClaimInvalid;
        }
        // From March 2027 on.
        let bench = bench.header(json!({ "typ": "at+jwt" }));
        says! { rows, bench;
            "at+jwt": {} => user();
        }
        // Tokens that a client gets for itself have no subject.
        says! { rows, bench;
            "a client's own": {
                "sub": null, "sid": null, "auth_time": null, "acr": null, "groups": null,
                "p1.permissions": null, "scope": "orders:read",
            } => Says::default(), {
                subject: CLIENT, client_id: Some(CLIENT), scopes: vec!["orders:read"]
            };
        }
        let bench = Bench::new(server(&ENVIRONMENT.to_uppercase()), claims);
        accepts! { rows, bench;
            "environment configured in capitals": {};
        }

        mistakes! { rows, ["PingOne domain", "auth.pingone.eu"],
            |domain| AuthorizationServer::pingone(domain, ENVIRONMENT).audience("a");
            "", "{domain}", "http://auth.pingone.eu", "auth.pingone.eu/x", "a?b"
        }
        mistakes! { rows, ["PingOne environment id", "GUID"],
            |id| AuthorizationServer::pingone("auth.pingone.eu", id).audience("a");
            "", "company", "<environmentId>", "../x", "a/b", "a?b", &ENVIRONMENT[1..]
        }
    });
}

#[test]
fn zitadel() {
    const PROJECT: &str = "257713952794870157";
    const OURS: &str = "urn:zitadel:iam:org:project:257713952794870157:roles";
    const THEIRS: &str = "urn:zitadel:iam:org:project:999999999999999999:roles";
    const CLIENTS_OWN: &str = "urn:zitadel:iam:org:project:roles";
    const CLIENT: &str = "260887327029658738";
    table(|rows| {
        let server = AuthorizationServer::zitadel("company-a1b2c3.zitadel.cloud", PROJECT).roles(
            RoleMapping::new()
                .grant(Role::Admin, ["order-admin"])
                .grant(Role::Read, ["reader"]),
        );
        let granted = json!({ "order-admin": { "252840": "company.zitadel.cloud" } });
        let bench = Bench::new(
            server,
            json!({
                "iss": "https://company-a1b2c3.zitadel.cloud", "sub": "257712562366383231",
                "aud": [CLIENT, "260887404288738416", PROJECT], "exp": NOW + 43_200, "iat": NOW,
                "nbf": NOW,
                "client_id": CLIENT, "jti": "V2_391184219667173286-at_391187731641798566",
                "urn:zitadel:iam:user:resourceowner:id": "252840", OURS: granted,
                CLIENTS_OWN: granted,
            }),
        );
        let user = || Says {
            subject: "257712562366383231",
            client_id: Some(CLIENT),
            groups: vec!["order-admin"],
            grant: grant(Role::Admin, OURS, "order-admin"),
            ..Says::default()
        };
        says! { rows, bench;
            "of a client of the project": {} => user();
            "of a client of another project": { CLIENTS_OWN: null } => user();
            "roles as an array": {
                CLIENTS_OWN: null,
                OURS: [{ "reader": { "252840": "company.zitadel.cloud" } }, { "other": {} }],
            } => user(), {
                groups: vec!["reader", "other"], grant: grant(Role::Read, OURS, "reader")
            };
        }
        // Anybody may have a project, with roles and a client of it, and ask for our project as the
        // audience. This claim then has the roles in the project of the client.
        says! { rows, bench;
            "roles in a stranger's project": { OURS: null, CLIENTS_OWN: granted, THEIRS: granted }
                => user(), { groups: vec![], grant: None };
            "no roles": { OURS: null, CLIENTS_OWN: null } => user(), {
                groups: vec![], grant: None
            };
        }
        rows.refuses_the_usual(&bench);
        let id_token = json!({
            "amr": ["mfa"], "at_hash": "PuKV_n3nJv8ob_9VhOGL6A", "c_hash": "x",
            "auth_time": NOW - 60, "azp": CLIENT,
            "nonce": "n-0S6", "sid": "V1_1", "jti": null, "nbf": null,
            "email": "joe@company.example",
        });
        refuses! { rows, bench;
            "ID token": (id_token) => TokenTypeRejected;
            // As of the implicit flow; it is for the project all the same.
            "ID token without nonce and hashes": { "azp": CLIENT, "jti": null }
                => TokenTypeRejected;
            "for other projects": { "aud": [CLIENT, "999999999999999999"] } => AudienceMismatch;
            "of another instance": { "iss": "https://evil-d4e5f6.zitadel.cloud" } => IssuerUnknown;
            "of two clients": { "azp": "260887404288738416" } => ClaimInvalid;
            "roles in another shape": { OURS: ["order-admin"] } => ClaimInvalid;
            "roles in words": { OURS: "order-admin" } => ClaimInvalid;
        }
        mistakes! { rows, ["Zitadel domain", "zitadel.cloud"],
            |domain| AuthorizationServer::zitadel(domain, PROJECT);
            "", "{domain}", "https://<instance>.zitadel.cloud", "http://company.zitadel.cloud",
            "company.zitadel.cloud/x", "a?b"
        }
        mistakes! { rows, ["Zitadel project id"],
            |project| AuthorizationServer::zitadel("company-a1b2c3.zitadel.cloud", project);
            "", " ", "{projectId}", "<project-id>", "../x", "a/b", "a?b"
        }
    });
}

#[test]
fn authentik() {
    const CLIENT: &str = "vUdHYjSJzVqkXvS0LJPmAPkBmIRpbAiEEjbPBA6W";
    table(|rows| {
        let server = AuthorizationServer::authentik("https://id.company.example", "orders")
            .audience(CLIENT)
            .roles(RoleMapping::new().grant(Role::Write, ["orders:write"]));
        let claims = json!({
            "iss": "https://id.company.example/application/o/orders/", "sub": "5a8e3f1c9d",
            "aud": CLIENT,
            "exp": NOW + 300, "iat": NOW, "auth_time": NOW - 60, "amr": ["pwd", "mfa"],
            "sid": "0a1b",
            "acr": "goauthentik.io/providers/oauth2/default", "nonce": "n-0S6",
            "email": "joe@company.example",
            "email_verified": true, "name": "Joe", "preferred_username": "joe", "nickname": "joe",
            "groups": ["staff"], "entitlements": ["orders:write"], "azp": CLIENT,
            "uid": "kRJDVYyNzUxTnE4yMwBRBd8eeNXcPXjY", "scope": "openid profile entitlements",
        });
        let bench = Bench::new(server.clone(), claims.clone()).header(json!({ "typ": "JWT" }));
        let user = || Says {
            subject: "5a8e3f1c9d",
            client_id: Some(CLIENT),
            scopes: vec!["openid", "profile", "entitlements"],
            groups: vec!["staff", "orders:write"],
            grant: grant(Role::Write, "entitlements", "orders:write"),
            ..Says::default()
        };
        says! { rows, bench;
            "a user's": {} => user();
            "up to version 2025.8": { "scope": null } => user(), { scopes: vec![] };
        }
        rows.refuses_the_usual(&bench);
        refuses! { rows, bench;
            "ID token": { "azp": null, "uid": null, "scope": null, "at_hash": "x" }
                => TokenTypeRejected;
            // A scope mapping that writes claims writes them to both tokens.
            "ID token with scopes": { "azp": null, "uid": null, "at_hash": "x" }
                => TokenTypeRejected;
            "of another application": {
                "iss": "https://id.company.example/application/o/wiki/", "aud": "w", "azp": "w",
            } => IssuerUnknown;
            "of the global mode": { "iss": "https://id.company.example/" } => IssuerUnknown;
            "groups in another shape": { "groups": "staff" } => ClaimInvalid;
        }

        let bench = Bench::with_key(server.clone(), ec_key(), claims.clone());
        says! { rows, bench;
            "ES256": {} => user();
        }
        let bench = Bench::new(server.issuer_alias("https://id.company.example/"), claims);
        accepts! { rows, bench;
            "of the global mode, as alias": { "iss": "https://id.company.example/" };
        }
        refuses! { rows, bench;
            "of the global mode, of another application": {
                "iss": "https://id.company.example/", "aud": "w", "azp": "w",
            } => AudienceMismatch;
        }

        mistakes! { rows, ["authentik URL", "https://id.company.example"],
            |url| AuthorizationServer::authentik(url, "orders").audience("a");
            "", "{url}", "http://id.company.example", "https://id.company.example?x"
        }
        mistakes! { rows, ["authentik application", "slug"],
            |slug| AuthorizationServer::authentik("https://id.company.example", slug).audience("a");
            "", "<application slug>", "{slug}", "../x", "..", "a/b", "a?b", "a#b"
        }
    });
}

fn github_claims(issuer: &str) -> Value {
    json!({
        "jti": "example-id", "sub": "repo:octo-org@65/octo-repo@74:ref:refs/heads/main",
        "aud": "https://deploy.company.example", "ref": "refs/heads/main", "sha": "example-sha",
        "repository": "octo-org/octo-repo", "repository_owner": "octo-org", "actor_id": "12",
        "repository_visibility": "private", "repository_id": "74", "repository_owner_id": "65",
        "run_id": "example-run-id", "run_number": "10", "run_attempt": "2", "actor": "octocat",
        "runner_environment": "github-hosted", "workflow": "example-workflow", "head_ref": "",
        "base_ref": "",
        "workflow_ref": "octo-org/octo-repo/.github/workflows/oidc.yml@refs/heads/main",
        "event_name": "workflow_dispatch", "ref_type": "branch", "ref_protected": "true",
        "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
        "iss": issuer, "nbf": NOW - 600, "exp": NOW + 300, "iat": NOW,
    })
}

#[test]
fn github_actions() {
    table(|rows| {
        let policy = |server: portcullis::WithoutAudience| {
            server
                .audience("https://deploy.company.example")
                .require_claim_value("ref", ["refs/heads/main"])
                .roles(RoleMapping::new().grant(Role::Write, ["octo-org/octo-repo"]))
        };
        let claims = github_claims("https://token.actions.githubusercontent.com");
        let header = json!({ "typ": "JWT", "x5t": "example-thumbprint" });
        let bench = Bench::new(policy(AuthorizationServer::github_actions(["65"])), claims)
            .header(header.clone());
        let says = |subject| Says {
            subject,
            groups: vec!["octo-org/octo-repo"],
            grant: grant(Role::Write, "repository", "octo-org/octo-repo"),
            ..Says::default()
        };
        for subject in [
            "repo:octo-org@65/octo-repo@74:ref:refs/heads/main",
            "repo:octo-org/octo-repo:ref:refs/heads/main",
            "repo:octo-org@65/octo-repo@74:environment:prod%3Aeu",
        ] {
            rows.says(&bench, subject, json!({ "sub": subject }), says(subject));
        }
        rows.refuses_the_usual(&bench);
        refuses! { rows, bench;
            "a stranger's repository": {
                "sub": "repo:evil/evil:ref:refs/heads/main", "repository": "evil/evil",
                "repository_owner": "evil", "repository_owner_id": "666", "repository_id": "667",
            } => ClaimRejected;
            "a name that was taken over": { "repository_owner_id": "666", "repository_id": "667" }
                => ClaimRejected;
            "id as a number": { "repository_owner_id": 65 } => ClaimRejected;
            "no owner": { "repository_owner_id": null } => ClaimRejected;
            "a pull request": { "ref": "refs/pull/1/merge", "event_name": "pull_request" }
                => ClaimRejected;
            "a branch of a like name": { "ref": "refs/heads/main2" } => ClaimRejected;
            "audience by default": { "aud": "https://github.com/octo-org" } => AudienceMismatch;
            "of an enterprise": {
                "iss": "https://token.actions.githubusercontent.com/octo-enterprise",
            } => IssuerUnknown;
            "of an enterprise server": { "iss": "https://github.company.example/_services/token" }
                => IssuerUnknown;
            "repositories": { "repository": ["octo-org/octo-repo"] } => ClaimInvalid;
        }

        mistakes! { rows, ["GitHub owner id", "api.github.com/users"],
            |id| AuthorizationServer::github_actions([id]).audience("a");
            "", "octo-org", "65 ", "*"
        }
        let server = policy(AuthorizationServer::github_actions_enterprise(
            "github.company.example",
        ));
        let bench = Bench::new(
            server,
            github_claims("https://github.company.example/_services/token"),
        )
        .header(header);
        let subject = "repo:octo-org@65/octo-repo@74:ref:refs/heads/main";
        says! { rows, bench;
            "enterprise server": {} => says(subject);
        }
        rows.refuses_the_usual(&bench);
        refuses! { rows, bench;
            "of github.com": { "iss": "https://token.actions.githubusercontent.com" }
                => IssuerUnknown;
        }
        mistakes! { rows, ["GitHub Enterprise Server host", "github.company.example"],
            |host| AuthorizationServer::github_actions_enterprise(host).audience("a");
            "", "{host}", "HOST/../x", "github.company.example/_services/token",
            "http://github.company.example", "a?b"
        }
    });
}

#[test]
fn kubernetes() {
    table(|rows| {
        let claims = |issuer: &str| {
            json!({
                "aud": ["https://orders.example"], "exp": NOW + 3_600, "iat": NOW, "nbf": NOW,
                "iss": issuer,
                "jti": "ea28ed49-2e11-4280-9ec5-bc3d1d84661a",
                "kubernetes.io": {
                    "namespace": "orders", "node": { "name": "n1", "uid": "58456cb0" },
                    "pod": { "name": "worker-69bf", "uid": "5e0bd49b" },
                    "serviceaccount": { "name": "worker", "uid": "14ee3fa4" },
                    "warnafter": NOW + 3_607,
                },
                "sub": "system:serviceaccount:orders:worker",
            })
        };
        let server = |issuer| {
            AuthorizationServer::kubernetes(issuer)
                .audience("https://orders.example")
                .roles(RoleMapping::new().grant(Role::Write, ["orders"]))
        };
        let says = || Says {
            subject: "system:serviceaccount:orders:worker",
            groups: vec!["orders"],
            grant: grant(Role::Write, "/kubernetes.io/namespace", "orders"),
            ..Says::default()
        };
        let cluster = "https://kubernetes.default.svc.cluster.local";
        let bench = Bench::new(server(cluster), claims(cluster));
        says! { rows, bench;
            "of a pod": {} => says();
        }
        rows.refuses_the_usual(&bench);
        refuses! { rows, bench;
            "of before projected volumes": {
                "iss": "kubernetes/serviceaccount", "aud": null, "exp": null, "iat": null,
                "nbf": null, "jti": null, "kubernetes.io": null,
                "kubernetes.io/serviceaccount/namespace": "orders",
            } => IssuerUnknown;
            "never expires": { "exp": null } => ClaimInvalid;
            "for the API server": { "aud": [cluster] } => AudienceMismatch;
            "of another cluster": { "iss": "https://oidc.eks.eu-west-1.amazonaws.com/id/EVIL" }
                => IssuerUnknown;
            "namespaces": { "kubernetes.io": { "namespace": ["orders"] } } => ClaimInvalid;
            "in another shape": { "kubernetes.io": "orders" } => ClaimInvalid;
        }
        says! { rows, bench;
            "of another namespace": { "kubernetes.io": { "namespace": "evil" } } => says(), {
                groups: vec!["evil"], grant: None
            };
            "names that read alike": {
                "kubernetes.io": null, "kubernetes": { "io": { "namespace": "orders" } },
                "kubernetes.io/namespace": "orders",
            } => says(), { groups: vec![], grant: None };
        }

        let eks = "https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF";
        says! { rows, Bench::new(server(eks), claims(eks));
            "EKS": {} => says();
        }
        says! { rows, Bench::with_key(server(eks), ec_key(), claims(eks));
            "ES256": {} => says();
        }

        mistakes! { rows, ["issuer", "write the exact `iss`"],
            |issuer| AuthorizationServer::kubernetes(issuer).audience("a");
            "", "kubernetes/serviceaccount", "http://10.0.0.1", "https://k8s.example?x",
            "https://k8s.example#x"
        }
    });
}

/// A provider without a preset.
const ISSUER: &str = "https://id.example/tenants/a";

fn server() -> AuthorizationServer {
    AuthorizationServer::with_issuer(ISSUER, "https://id.example/tenants/a/keys").audience("api")
}

fn generic(server: AuthorizationServer) -> Bench {
    let claims = json!({
        "iss": ISSUER, "aud": "api", "sub": "joe", "iat": NOW, "exp": NOW + 3_600, "jti": "j1",
    });
    Bench::new(server, claims)
}

#[test]
fn a_provider_without_preset() {
    table(|rows| {
        let discovered = AuthorizationServer::discover(ISSUER).audience("api");
        for server in [server(), discovered] {
            let bench = generic(server.roles(RoleMapping::new().grant(Role::Admin, ["admins"])));
            says! { rows, bench;
                "RFC 9068": {
                    "client_id": "app", "scope": "a b", "scp": ["b", "c"], "groups": ["admins"],
                } => Says::default(), {
                    subject: "joe", client_id: Some("app"), scopes: vec!["a", "b", "c"],
                    groups: vec!["admins"], grant: grant(Role::Admin, "groups", "admins")
                };
                "next to nothing": { "jti": null } => Says::default(), { subject: "joe" };
            }
            rows.refuses_the_usual(&bench);
            refuses! { rows, bench;
                "without scheme": { "iss": "id.example/tenants/a" } => IssuerUnknown;
                "no subject": { "sub": null } => ClaimInvalid;
                "ID token by its nonce": { "nonce": "n" } => TokenTypeRejected;
                "ID token by its hash": { "at_hash": "x" } => TokenTypeRejected;
            }
        }
        mistakes! { rows, ["issuer", "write the exact `iss`"],
            |iss| AuthorizationServer::with_issuer(iss, "https://a.example/keys").audience("a");
            "", "id.example", "http://id.example", "https://id.example?x", "https://user@id.example"
        }
        mistakes! { rows, ["issuer", "write the exact `iss`"],
            |issuer| AuthorizationServer::discover(issuer).audience("a");
            "", "id.example", "http://id.example", "https://id.example?x"
        }
    });
}

#[test]
fn lists_are_read_as_they_are_written() {
    let objects = || ListClaim::field("c", "value");
    let bad = Err(Kind::ClaimInvalid);
    table(|rows| {
        for (name, claim, changes, expected) in cases! {
            "strings", ListClaim::strings("c"), { "c": ["a", "b c", "d,e"] }
                => Ok(vec!["a", "b c", "d,e"]);
            "no strings", ListClaim::strings("c"), { "c": [] } => Ok(vec![]);
            "no claim", ListClaim::strings("c"), {} => Ok(vec![]);
            "strings: a string", ListClaim::strings("c"), { "c": "a" } => bad.clone();
            "strings: an object", ListClaim::strings("c"), { "c": { "a": 1 } } => bad.clone();
            "strings: a number in it", ListClaim::strings("c"), { "c": ["a", 1] } => bad.clone();
            "strings: an array in it", ListClaim::strings("c"), { "c": [["a"]] } => bad.clone();
            "string", ListClaim::string("c"), { "c": "a b,c" } => Ok(vec!["a b,c"]);
            "string: an array", ListClaim::string("c"), { "c": ["a"] } => bad.clone();
            "string: a truth value", ListClaim::string("c"), { "c": true } => bad.clone();
            "words", ListClaim::space_separated("c"), { "c": " a  b,c " } => Ok(vec!["a", "b,c"]);
            "no words", ListClaim::space_separated("c"), { "c": "" } => Ok(vec![]);
            "words: an array", ListClaim::space_separated("c"), { "c": ["a"] } => bad.clone();
            "commas", ListClaim::comma_separated("c"), { "c": "a, b c ,,d" }
                => Ok(vec!["a", "b c", "d"]);
            "commas: a number", ListClaim::comma_separated("c"), { "c": 1 } => bad.clone();
            "keys", ListClaim::object_keys("c"), { "c": { "a": { "x": 1 }, "b": null } }
                => Ok(vec!["a", "b"]);
            "keys of several", ListClaim::object_keys("c"), { "c": [{ "a": 1 }, {}, { "b": 2 }] }
                => Ok(vec!["a", "b"]);
            "no keys", ListClaim::object_keys("c"), { "c": {} } => Ok(vec![]);
            "keys: strings", ListClaim::object_keys("c"), { "c": ["a"] } => bad.clone();
            "keys: a string", ListClaim::object_keys("c"), { "c": "a" } => bad.clone();
            "fields", objects(), { "c": [{ "value": "a", "display": "A" }, { "value": "b" }] }
                => Ok(vec!["a", "b"]);
            "no objects", objects(), { "c": [] } => Ok(vec![]);
            "fields: one object", objects(), { "c": { "value": "a" } } => bad.clone();
            "fields: one without", objects(), { "c": [{ "value": "a" }, { "display": "B" }] }
                => bad.clone();
            "fields: one a number", objects(), { "c": [{ "value": 1 }] } => bad.clone();
            "fields: a string", objects(), { "c": ["a"] } => bad.clone();
            "pointer", "/a/b".into(), { "a": { "b": ["x"] } } => Ok(vec!["x"]);
            "pointer, and a name that reads alike", "/a/b".into(), {
                "a/b": ["x"], "/a/b": ["x"], "a.b": ["x"],
            } => Ok(vec![]);
            "pointer to nothing", "/a/b".into(), { "a": {} } => Ok(vec![]);
            "pointer through a string", "/a/b".into(), { "a": "b" } => bad.clone();
            "pointer through an array", "/a/0".into(), { "a": [["x"]] } => bad.clone();
            "dots are no path", "a.b".into(), { "a": { "b": ["x"] }, "a.b": ["y"] }
                => Ok(vec!["y"]);
            "slashes within a name", "https://app/roles".into(), { "https://app/roles": ["x"] }
                => Ok(vec!["x"]);
            "escapes of a pointer", "/https:~1~1app/~0x".into(), { "https://app": { "~x": ["y"] } }
                => Ok(vec!["y"]);
            "a name with a slash in front", ClaimPath::nested(["/a"]).into(), {
                "/a": ["x"], "a": ["y"],
            } => Ok(vec!["x"]);
        } {
            let found = generic(server().groups_claim(claim)).judge(&changes);
            let found = found.as_ref().map(|token| token.groups().collect());
            rows.same(
                name,
                &found.map_err(|rejection| rejection.kind()),
                &expected,
            );
        }
    });
}

#[test]
fn names_and_values_are_what_they_say_however_they_are_written() {
    let keys = || ListClaim::object_keys("/a/b");
    let words = || ListClaim::space_separated("gr\u{f6}up");
    table(|rows| {
        for (name, claim, text, expected) in cases! {
            "the claim", "groups".into(), r#""gro\u0075ps":["x"]"# => Ok(vec!["x"]);
            "on the way", "/a/b".into(), r#""\u0061":{"\u0062":["x"]}"# => Ok(vec!["x"]);
            "values", "c".into(), r#""c":["\u0061dmins","b\"c","\ud83d\ude00"]"#
                => Ok(vec!["admins", "b\"c", "\u{1f600}"]);
            "keys", keys(), r#""a":{"b":{"\u0061dmins":1,"b\/c":2}}"# => Ok(vec!["admins", "b/c"]);
            "words", words(), r#""gr\u00f6up":"\u0061\u0020b""# => Ok(vec!["a", "b"]);
            "fields", ListClaim::field("c", "v"), r#""c":[{"\u0076":"\u0061"}]"# => Ok(vec!["a"]);
            "white space", "/a/b".into(), "\"a\" : {\n\"b\" : [ \"x\" ,\t\"y\" ] }"
                => Ok(vec!["x", "y"]);
            "a member twice", keys(), r#""a":{"b":{"x":1,"\u0078":2}}"# => Err(Kind::ClaimInvalid);
            "on the way twice", "/a/b".into(), r#""a":{"b":[],"b":["admins"]}"#
                => Err(Kind::ClaimInvalid);
            "a claim twice", "c".into(), r#""c":[],"\u0063":["admins"]"#
                => Err(Kind::TokenMalformed);
        } {
            let text = text.as_str().unwrap();
            let bench = generic(server().groups_claim(claim));
            let claims = bench.claims.to_string();
            let claims = format!("{},{text}}}", claims.strip_suffix('}').unwrap());
            let found = bench.judge_token(&key().sign_text(bench.header.to_string(), claims));
            let found = found.as_ref().map(|token| token.groups().collect());
            rows.same(
                name,
                &found.map_err(|rejection| rejection.kind()),
                &expected,
            );
        }
    });
}

#[test]
fn claims_are_required_and_forbidden() {
    const NO: Option<Kind> = Some(Kind::ClaimRejected);
    table(|rows| {
        let hd = || server().require_claim_value("hd", ["a.example", "b.example"]);
        let five = || server().require_claim_value("level", [5, 6]);
        let truth = || server().require_claim_value("email_verified", [true]);
        let lie = || server().require_claim_value("guest", [false]);
        let nested = || server().require_claim_value("/k8s/ns", ["orders"]);
        for (name, server, changes, expected) in cases! {
            "there", server().require_claim("dep"), { "dep": "x" } => None;
            "there, and false", server().require_claim("dep"), { "dep": false } => None;
            "not there", server().require_claim("dep"), {} => NO;
            "there, further in", server().require_claim("/a/b"), { "a": { "b": {} } } => None;
            "not there, further in", server().require_claim("/a/b"), { "a": {} } => NO;
            "nothing further in", server().require_claim("/a/b"), {} => NO;
            "no way further in", server().require_claim("/a/b"), { "a": "b" }
                => Some(Kind::ClaimInvalid);
            "string", hd(), { "hd": "b.example" } => None;
            "other string", hd(), { "hd": "c.example" } => NO;
            "string in capitals", hd(), { "hd": "A.example" } => NO;
            "string and more", hd(), { "hd": "a.example.evil.example" } => NO;
            "both strings in one", hd(), { "hd": "a.example b.example" } => NO;
            "string, not there", hd(), {} => NO;
            "string in an array", hd(), { "hd": ["x", "a.example"] } => None;
            "other strings in an array", hd(), { "hd": ["x", ["a.example"]] } => NO;
            "empty array", hd(), { "hd": [] } => NO;
            "string as a key", hd(), { "hd": { "a.example": true } } => NO;
            "number", five(), { "level": 5 } => None;
            "other number", five(), { "level": 55 } => NO;
            "number with a fraction", five(), { "level": 5.0 } => NO;
            "number in words", five(), { "level": "5" } => NO;
            "number in an array", five(), { "level": [1, 6] } => None;
            "negative", server().require_claim_value("n", [-1]), { "n": -1 } => None;
            "too large to tell", server().require_claim_value("n", [i64::MAX]), { "n": u64::MAX }
                => NO;
            "true", truth(), { "email_verified": true } => None;
            "false", truth(), { "email_verified": false } => NO;
            "true, in words", truth(), { "email_verified": "true" } => NO;
            "as good as true", truth(), { "email_verified": 1 } => NO;
            "false, as it must be", lie(), { "guest": false } => None;
            "false, not there", lie(), {} => NO;
            "further in", nested(), { "k8s": { "ns": "orders" } } => None;
            "other, further in", nested(), { "k8s": { "ns": "evil" }, "/k8s/ns": "orders" } => NO;
            "forbidden", server().forbid_claim("act"), { "act": { "sub": "x" } } => NO;
            "forbidden, and false", server().forbid_claim("act"), { "act": false } => NO;
            "forbidden, not there", server().forbid_claim("act"), {} => None;
            "forbidden, further in", server().forbid_claim("/a/b"), { "a": { "b": 1 } } => NO;
            "forbidden, elsewhere", server().forbid_claim("/a/b"), { "a": { "c": 1 }, "b": 1 }
                => None;
            "one of two", hd().require_claim("dep"), { "hd": "a.example" } => NO;
            "both of two", hd().require_claim("dep"), { "hd": "a.example", "dep": 1 } => None;
        } {
            let found = generic(server).judge(&changes).err().map(|r| r.kind());
            rows.same(name, &found, &expected);
        }
    });
}

#[test]
fn step_up_is_asked_for_in_the_words_of_rfc_9470() {
    const CHALLENGE: &str = r#"Bearer error="insufficient_user_authentication", error_description="a stronger authentication of the user is needed""#;
    table(|rows| {
        let acr = || server().require_acr(["urn:okta:loa:2fa:any", "phr"]);
        let amr = || server().require_amr(["mfa", "hwk"]);
        let which = format!(r#"{CHALLENGE}, acr_values="urn:okta:loa:2fa:any phr""#);
        for (name, server, changes, expected) in cases! {
            "one of them", acr(), { "acr": "phr" } => None;
            "another", acr(), { "acr": "urn:okta:loa:1fa:any" } => Some(&*which);
            "all in one string", acr(), { "acr": "urn:okta:loa:2fa:any phr" } => Some(&*which);
            "no context", acr(), {} => Some(&*which);
            "one of the methods", amr(), { "amr": ["pwd", "mfa"] } => None;
            "other methods", amr(), { "amr": ["pwd"] } => Some(CHALLENGE);
            "no methods", amr(), {} => Some(CHALLENGE);
            "neither", acr().require_amr(["mfa"]), {} => Some(&*which);
            // The context that it has would be of no help.
            "other methods, right context", acr().require_amr(["mfa"]), {
                "acr": "phr", "amr": ["pwd"],
            } => Some(CHALLENGE);
        } {
            let rejection = generic(server).judge(&changes).err();
            let kind = rejection.as_ref().map(Rejection::kind);
            rows.same(name, &kind, &expected.map(|_| Kind::StepUpRequired));
            let challenge = rejection.and_then(|rejection| rejection.challenge());
            let challenge = challenge.as_ref().map(|value| value.to_str().unwrap());
            rows.same(name, &challenge, &expected);
        }
    });
}

#[test]
fn old_tokens_are_refused_to_the_second() {
    let server = || server().max_token_age(Duration::from_secs(600));
    table(|rows| {
        for leeway in [0, 60] {
            let bench = Bench {
                resource_server: ResourceServer::builder()
                    .trust(server())
                    .leeway(Duration::from_secs(leeway))
                    .build()
                    .unwrap(),
                ..generic(server())
            };
            let token = bench.sign(&json!({}), &json!({}));
            let kind = |now| bench.judge_at(now, &token).err().map(|r| r.kind());
            rows.same("just in time", &kind(NOW + 600 + leeway - 1), &None);
            rows.same(
                "too old",
                &kind(NOW + 600 + leeway),
                &Some(Kind::TokenTooOld),
            );
            rows.same(
                "expired",
                &kind(NOW + 3_600 + leeway),
                &Some(Kind::TokenExpired),
            );
            refuses! { rows, bench;
                "issued nobody knows when": { "iat": null } => ClaimInvalid;
            }
        }
        accepts! { rows, generic(crate::server());
            "of any age": { "iat": null };
        }
    });
}

#[test]
fn scopes_include_what_the_hierarchy_says_and_nothing_else() {
    let up = || {
        ScopeHierarchy::new()
            .includes("admin", ["write", "audit"])
            .includes("write", ["read"])
    };
    let round = ScopeHierarchy::new()
        .includes("a", ["b"])
        .includes("b", ["c"])
        .includes("c", ["a"]);
    table(|rows| {
        for (name, hierarchy, scope, expected) in cases! {
            "no hierarchy", ScopeHierarchy::new(), "admin" => vec!["admin"];
            "from the top", up(), "admin" => vec!["admin", "write", "audit", "read"];
            "from the middle", up(), "write" => vec!["write", "read"];
            "from below", up(), "read" => vec!["read"];
            "beside", up(), "orders admin:x" => vec!["orders", "admin:x"];
            "granted as well", up(), "read write" => vec!["read", "write"];
            "round", round, "b" => vec!["b", "c", "a"];
        } {
            let token = generic(server().scope_hierarchy(hierarchy))
                .judge(&json!({ "scope": scope }))
                .unwrap();
            rows.same(name, &token.scopes().collect(), &expected);
        }
    });
    let read = ScopeRequirement::all_of(["read"]).unwrap();
    let scope = json!({ "scope": "admin" });
    let with = generic(server().scope_hierarchy(up()))
        .judge(&scope)
        .unwrap();
    assert!(with.require_scope(&read).is_ok());
    let without = generic(server()).judge(&scope).unwrap();
    let kind = without
        .require_scope(&read)
        .map_err(|rejection| rejection.kind());
    assert_eq!(kind, Err(Kind::ScopeInsufficient));
}

#[test]
fn groups_are_told_by_the_claim_they_stand_in() {
    let roles = || {
        RoleMapping::new()
            .grant(Role::Admin, ["admins"])
            .grant(Role::Read, ["staff"])
    };
    table(|rows| {
        let bench = generic(
            server()
                .groups_claims(["groups", "/realm_access/roles"])
                .also_groups_claim(ListClaim::comma_separated("memberOf"))
                .roles(roles()),
        );
        let joe = || Says {
            subject: "joe",
            ..Says::default()
        };
        says! { rows, bench;
            "the first": { "groups": ["staff"] } => joe(), {
                groups: vec!["staff"], grant: grant(Role::Read, "groups", "staff")
            };
            "the second": {
                "groups": ["staff"], "realm_access": { "roles": ["x", "admins"] },
            } => joe(), {
                groups: vec!["staff", "x", "admins"],
                grant: grant(Role::Admin, "/realm_access/roles", "admins")
            };
            "the third": { "groups": ["staff"], "memberOf": "x, admins" } => joe(), {
                groups: vec!["staff", "x", "admins"],
                grant: grant(Role::Admin, "memberOf", "admins")
            };
            "none": {
                "groups": ["x"], "roles": ["admins"],
                "memberof": "admins" } => joe(), { groups: vec!["x"],
            };
        }
        refuses! { rows, bench;
            "the second is malformed": {
                "groups": ["staff"], "realm_access": { "roles": "admins" },
            } => ClaimInvalid;
            "the third is malformed": { "memberOf": ["admins"] } => ClaimInvalid;
        }

        // What is filtered out grants nothing; what grants is still known by its claim.
        let filtered = server()
            .groups_claims(["a", "b"])
            .group_filter(["orders-*", "admins"]);
        let bench = generic(filtered.roles(roles()));
        says! { rows, bench;
            "filter": {
                "a": ["staff", "orders-eu", "Orders-eu"], "b": ["orders-", "admins2", "admins"],
            } => joe(), {
                groups: vec!["orders-eu", "orders-", "admins"],
                grant: grant(Role::Admin, "b", "admins")
            };
        }

        // Elsewhere is a claim that is read here, or one that it is in.
        let bench = generic(server().groups_claims(["/realm_access/roles", "groups"]));
        says! { rows, bench;
            "here": {} => joe();
            "elsewhere": {
                "_claim_names": { "groups": "s" } } => joe(), { groups_incomplete: true,
            };
            "what it is in": {
                "_claim_names": { "realm_access": "s" } } => joe(), { groups_incomplete: true,
            };
            "another claim": { "_claim_names": { "roles": "s" } } => joe();
        }
    });
}

#[test]
fn clients_and_audiences_stand_in_the_claims_that_are_named() {
    table(|rows| {
        let azp = || server().client_claims(["azp", "client_id"]);
        for (name, server, changes, expected) in cases! {
            "by default", server(), { "client_id": "x", "azp": "y" } => Ok(Some("x"));
            "of Okta", server(), { "cid": "x" } => Ok(Some("x"));
            "at odds", server(), { "client_id": "x", "cid": "y" } => Err(Kind::ClaimInvalid);
            "the first", azp(), { "azp": "x" } => Ok(Some("x"));
            "the second", azp(), { "client_id": "x" } => Ok(Some("x"));
            "in agreement", azp(), { "azp": "x", "client_id": "x" } => Ok(Some("x"));
            "disagreeing", azp(), { "azp": "x", "client_id": "X" } => Err(Kind::ClaimInvalid);
            "one is no string", azp(), { "azp": "x", "client_id": ["x"] }
                => Err(Kind::ClaimInvalid);
            "not asked for", azp(), { "cid": "y" } => Ok(None);
            "allowed", azp().allowed_clients(["x"]), { "azp": "x" } => Ok(Some("x"));
            "not allowed", azp().allowed_clients(["x"]), { "azp": "y" }
                => Err(Kind::ClientNotAllowed);
            "nobody", azp().allowed_clients(["x"]), { "cid": "x" } => Err(Kind::ClientNotAllowed);
            "allowed, by the other claim", azp().allowed_clients(["x"]), {
                "azp": "y", "client_id": "x",
            } => Err(Kind::ClaimInvalid);
            "no list of clients", azp().allowed_clients::<&str>([]), { "azp": "x" }
                => Err(Kind::ClientNotAllowed);
        } {
            let found = generic(server).judge(&changes);
            let found = found.as_ref().map(|token| token.client_id());
            rows.same(
                name,
                &found.map_err(|rejection| rejection.kind()),
                &expected,
            );
        }

        let bench = generic(server().audience_claim("resource"));
        accepts! { rows, bench;
            "audience by another name": { "aud": null, "resource": "api" };
            "audiences by another name": { "aud": null, "resource": ["x", "api"] };
        }
        refuses! { rows, bench;
            "other audience": { "aud": null, "resource": "x" } => AudienceMismatch;
            "in the usual claim": { "aud": "api" } => ClaimInvalid;
            "in another shape": { "aud": null, "resource": { "api": 1 } } => ClaimInvalid;
        }
    });
}
