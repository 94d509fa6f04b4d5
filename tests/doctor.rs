//! What the doctor says of setups that do not work, kept in `tests/doctor/`. To write it anew, after a
//! look at each difference: `UPDATE_GOLDEN=1 cargo test --all-features --test doctor`.
#![cfg(feature = "test-util")]

use std::{fs, path::PathBuf, time::Duration};

use portcullis::{
    Algorithm, AuthorizationServer, Doctor, Explanation, ListClaim, ResourceServer, Role,
    RoleMapping, TenantPolicy, TenantResolver, TenantsUnavailable, UnixTime,
    test_util::{Behaviour, FakeClock, SigningKey, TestAuthorizationServer, TestIssuer},
};
use serde_json::{Value, json};

struct Scene {
    okta: TestAuthorizationServer,
    issuer: TestIssuer,
    clock: FakeClock,
}

impl Scene {
    async fn new() -> Self {
        let clock = FakeClock::at(UnixTime::from_secs(1_767_225_600));
        let okta = TestAuthorizationServer::start_at(clock.clone()).await;
        let issuer = okta.custom("default");
        // So that ids of keys are the same each time.
        let key = SigningKey::generate(Algorithm::Rs256).with_kid("key-1");
        issuer.publish_only([key.jwk()]);
        issuer.sign_with(&key);
        Self {
            okta,
            issuer,
            clock,
        }
    }

    fn server(&self) -> AuthorizationServer {
        AuthorizationServer::okta_custom(self.okta.origin(), "default")
            .audience("api://default")
            .roles(RoleMapping::new().grant(Role::Admin, ["admins"]))
    }

    fn mint(&self, claims: Value) -> String {
        let mut fixed = json!({ "jti": "AT.1", "sub": "joe", "groups": ["admins", "staff"] });
        for (name, value) in claims.as_object().unwrap() {
            fixed[name] = value.clone();
        }
        self.issuer.mint(fixed)
    }

    async fn explain(&self, server: AuthorizationServer, token: &str) -> String {
        self.text(&self.explanation(server, token).await)
    }

    async fn explanation(&self, server: AuthorizationServer, token: &str) -> Explanation {
        let policy = ResourceServer::builder().trust(server).build().unwrap();
        self.explanation_by(policy, token).await
    }

    async fn explanation_by(&self, policy: ResourceServer, token: &str) -> Explanation {
        let doctor = Doctor::new(policy).clock(self.clock.clock());
        let explanation = doctor.explain(token).await;
        let text = explanation.to_string();
        for part in token.split('.').skip(2).filter(|part| part.len() > 20) {
            assert!(!text.contains(part), "it shows a signature:\n{text}");
        }
        let checks = explanation.checks.iter().map(|check| check.passed);
        let failed = checks
            .clone()
            .filter(|passed| *passed == Some(false))
            .count();
        assert_eq!(failed, usize::from(explanation.verdict.is_err()), "{text}");
        assert!(
            explanation.verdict.is_err() || checks.clone().all(|passed| passed == Some(true)),
            "{text}"
        );
        explanation
    }

    fn text(&self, explanation: &Explanation) -> String {
        let text = explanation.to_string();
        text.replace(self.okta.origin(), "https://company.okta.com")
    }
}

/// What fails, and what the client is told.
fn failure(explanation: &Explanation) -> String {
    let mut checks = explanation.checks.iter();
    let failed = checks.find(|check| check.passed == Some(false)).unwrap();
    let kind = explanation.verdict.as_ref().unwrap_err().kind();
    format!("{kind} by {}\n  {}\n", failed.name, failed.detail)
}

fn golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/doctor")
        .join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, kept, "{} says otherwise", path.display());
}

#[tokio::test]
async fn a_token_that_is_let_through() {
    let scene = Scene::new().await;
    golden(
        "good",
        &scene.explain(scene.server(), &scene.mint(json!({}))).await,
    );
}

#[tokio::test]
async fn an_issuer_with_a_slash_too_many() {
    let scene = Scene::new().await;
    let issuer = format!("{}/", scene.issuer.issuer());
    let server =
        AuthorizationServer::with_issuer(issuer, scene.issuer.jwks_uri()).audience("api://default");
    golden(
        "slash",
        &scene.explain(server, &scene.mint(json!({}))).await,
    );
}

#[tokio::test]
async fn a_token_of_the_org_server() {
    let scene = Scene::new().await;
    let org = scene.okta.org();
    org.sign_with(&SigningKey::generate(Algorithm::Rs256).with_kid("unpublished"));
    let token = org.mint(json!({ "jti": "AT.1", "sub": "joe" }));
    golden("org-server", &scene.explain(scene.server(), &token).await);
}

#[tokio::test]
async fn another_audience() {
    let scene = Scene::new().await;
    let token = scene.mint(json!({ "aud": "api://orders" }));
    golden("audience", &scene.explain(scene.server(), &token).await);
}

#[tokio::test]
async fn a_token_that_has_expired() {
    let scene = Scene::new().await;
    let token = scene.mint(json!({}));
    scene.clock.advance(Duration::from_secs(3 * 3_600));
    golden("expired", &scene.explain(scene.server(), &token).await);
}

#[tokio::test]
async fn a_key_of_another_environment() {
    let scene = Scene::new().await;
    let key = SigningKey::generate(Algorithm::Rs256).with_kid("key-of-staging");
    let claims = json!({ "jti": "AT.1", "sub": "joe" });
    let token = key.sign(&scene.issuer.claims(claims));
    golden("other-key", &scene.explain(scene.server(), &token).await);
}

#[tokio::test]
async fn an_authorization_server_that_cannot_be_reached() {
    let scene = Scene::new().await;
    let token = scene.mint(json!({}));
    scene.issuer.behave(Behaviour::Down);
    golden("unreachable", &scene.explain(scene.server(), &token).await);
}

#[tokio::test]
async fn an_id_token() {
    let scene = Scene::new().await;
    let token = scene.mint(json!({ "nonce": "n-0S6_WzA2Mj", "jti": "ID.1" }));
    golden("id-token", &scene.explain(scene.server(), &token).await);
}

#[tokio::test]
async fn an_opaque_token() {
    let scene = Scene::new().await;
    golden(
        "opaque",
        &scene
            .explain(
                scene.server(),
                "Bearer fnwb_E74_modXahSqIISgBIAsbefHjL7Vt9X9",
            )
            .await,
    );
}

#[tokio::test]
async fn groups_that_grant_nothing() {
    let scene = Scene::new().await;
    let token = scene.mint(json!({ "groups": ["Admins"] }));
    golden("no-role", &scene.explain(scene.server(), &token).await);
}

#[tokio::test]
async fn a_signature_that_does_not_fit() {
    let scene = Scene::new().await;
    let key = SigningKey::generate(Algorithm::Rs256).with_kid("key-1");
    let claims = json!({ "jti": "AT.1", "sub": "joe" });
    let token = key.sign(&scene.issuer.claims(claims));
    golden("signature", &scene.explain(scene.server(), &token).await);
}

#[tokio::test]
async fn a_secret_in_place_of_a_key() {
    let scene = Scene::new().await;
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let token = scene.issuer.key().sign_with_header(
        &header,
        &scene.issuer.claims(json!({ "jti": "AT.1", "sub": "joe" })),
    );
    golden(
        "shared-secret",
        &scene.explain(scene.server(), &token).await,
    );
}

#[tokio::test]
async fn a_policy_that_is_sound_and_not_what_was_meant() {
    let scene = Scene::new().await;
    let server = scene
        .server()
        .audience("{yourAudience}")
        .jwks_policy(portcullis::JwksPolicy::default().ttl_cap(Duration::from_secs(24 * 3_600)))
        .dangerous_allow_plain_http();
    golden("lint", &scene.explain(server, &scene.mint(json!({}))).await);
}

#[tokio::test]
async fn an_audience_that_is_written_in_another_way() {
    let scene = Scene::new().await;
    let mut texts = Vec::new();
    for aud in [
        json!("api://default/"),
        json!(["openid", "API://default"]),
        json!(["api://orders", "api://billing"]),
        json!([]),
        json!({ "api": true }),
        json!(null),
    ] {
        let token = scene.mint(json!({ "aud": aud }));
        texts.push(failure(&scene.explanation(scene.server(), &token).await));
    }
    let of_client = scene.server().audience_claim("cid");
    let token = scene.mint(json!({ "cid": "api://default", "aud": "api://orders" }));
    texts.push(failure(&scene.explanation(of_client, &token).await));
    golden("audiences", &texts.join("\n"));
}

#[tokio::test]
async fn a_claim_that_the_policy_asks_for() {
    let scene = Scene::new().await;
    let server = || {
        scene
            .server()
            .require_acr(["urn:okta:loa:2fa:any", "phr"])
            .require_amr(["mfa"])
    };
    let mut texts = Vec::new();
    for (server, claims) in [
        (
            server(),
            json!({ "acr": "urn:okta:loa:1fa:any", "amr": ["pwd"] }),
        ),
        (server(), json!({ "acr": "phr" })),
        (
            scene.server().require_claim_value("email_verified", [true]),
            json!({ "email_verified": "true" }),
        ),
        (scene.server().require_claim("hd"), json!({})),
        (
            scene.server().forbid_claim("act"),
            json!({ "act": { "sub": "x" } }),
        ),
        (
            scene.server().require_claim("/a/b"),
            json!({ "a": "not an object" }),
        ),
    ] {
        let token = scene.mint(claims);
        texts.push(failure(&scene.explanation(server, &token).await));
    }
    golden("asked-for", &texts.join("\n"));

    let token = scene.mint(json!({ "acr": "phr", "amr": ["pwd", "mfa"] }));
    let text = scene.explain(server(), &token).await;
    assert!(
        text.contains(r#"required claims    `acr` "phr", `amr` ["pwd","mfa"]"#),
        "{text}"
    );
}

#[tokio::test]
async fn a_token_that_is_too_old() {
    let scene = Scene::new().await;
    let token = scene.mint(json!({}));
    scene.clock.advance(Duration::from_secs(40 * 60));
    let server = scene.server().max_token_age(Duration::from_secs(30 * 60));
    let text = failure(&scene.explanation(server, &token).await);
    golden("too-old", &text);
}

#[tokio::test]
async fn claims_that_are_missing_or_of_the_wrong_type() {
    let scene = Scene::new().await;
    let of_age = || scene.server().max_token_age(Duration::from_secs(60));
    let of_keycloak = || scene.server().groups_claim("/realm_access/roles");
    let of_objects = || {
        let claim = ListClaim::field("entitlements", "value");
        scene.server().groups_claim(claim)
    };
    let mut texts = Vec::new();
    for (server, claims) in [
        (scene.server(), json!({ "sub": null })),
        (scene.server(), json!({ "sub": "" })),
        (scene.server(), json!({ "sub": 7 })),
        (scene.server(), json!({ "exp": null })),
        (scene.server(), json!({ "exp": "tomorrow" })),
        (scene.server(), json!({ "nbf": "now" })),
        (of_age(), json!({ "iat": null })),
        (scene.server(), json!({ "cid": 7 })),
        (scene.server(), json!({ "client_id": "another" })),
        (scene.server(), json!({ "uid": ["u"] })),
        (scene.server(), json!({ "scp": [1] })),
        (scene.server(), json!({ "groups": "admins" })),
        (of_keycloak(), json!({ "realm_access": ["admins"] })),
        (of_objects(), json!({ "entitlements": [{ "name": "a" }] })),
        (scene.server(), json!({ "_claim_names": "groups" })),
    ] {
        let token = scene.mint(claims);
        texts.push(failure(&scene.explanation(server, &token).await));
    }
    golden("claims", &texts.join("\n"));
}

#[tokio::test]
async fn groups_in_a_claim_that_is_not_read() {
    let scene = Scene::new().await;
    let token = scene.mint(json!({
        "roles": ["Admin"],
        "https://company.example/groups": ["admins"],
        "realm_access": { "roles": ["admins"] },
    }));
    let server = scene.server().groups_claim("group");
    golden("other-groups", &scene.explain(server, &token).await);

    let token = scene.mint(json!({ "groups": null }));
    let text = scene.explain(scene.server(), &token).await;
    let none = "groups   none: read from `groups`, which the token does not have\n";
    assert!(text.contains(none), "{text}");
    let token = scene.mint(json!({ "groups": [] }));
    let text = scene.explain(scene.server(), &token).await;
    assert!(text.contains("groups   none\n"), "{text}");
}

#[tokio::test]
async fn no_token() {
    let scene = Scene::new().await;
    for token in ["", " \n", "Bearer ", "Authorization: Bearer\n"] {
        let explanation = scene.explanation(scene.server(), token).await;
        assert!(explanation.is_sound() && explanation.verdict.is_err());
        golden("no-token", &scene.text(&explanation));
    }
    scene.issuer.behave(Behaviour::Down);
    let explanation = scene.explanation(scene.server(), "").await;
    assert!(!explanation.is_sound());
}

#[tokio::test]
async fn a_token_with_what_was_copied_with_it() {
    let scene = Scene::new().await;
    let token = scene.mint(json!({}));
    let alone = scene.explain(scene.server(), &token).await;
    for copied in [
        format!(" {token}\n"),
        format!("Bearer {token}"),
        format!("bearer\t{token}"),
        format!("Authorization: Bearer {token}\r\n"),
        format!("authorization:  bearer  {token}"),
        format!("AUTHORIZATION:{token}"),
    ] {
        assert_eq!(scene.explain(scene.server(), &copied).await, alone);
    }
    for other in [format!("Bearer{token}"), format!("Basic {token}")] {
        let explanation = scene.explanation(scene.server(), &other).await;
        assert!(explanation.verdict.is_err(), "{explanation}");
    }
}

struct OneTenant(TestIssuer);

impl TenantResolver for OneTenant {
    async fn resolve(
        &self,
        issuer: &str,
    ) -> Result<Option<AuthorizationServer>, TenantsUnavailable> {
        let is_it = issuer == self.0.issuer();
        Ok(is_it.then(|| {
            AuthorizationServer::with_issuer(issuer, self.0.jwks_uri()).audience("api://default")
        }))
    }
}

#[tokio::test]
async fn tenants_that_a_resolver_knows() {
    let scene = Scene::new().await;
    let tenants = || {
        let known = OneTenant(scene.issuer.clone());
        ResourceServer::builder().tenants(known, TenantPolicy::default())
    };
    let stranger = scene.okta.custom("stranger");
    let key = scene.issuer.key();
    let token = key.sign(&stranger.claims(json!({ "sub": "joe" })));

    let explanation = scene
        .explanation_by(tenants().build().unwrap(), &token)
        .await;
    golden("tenants", &scene.text(&explanation));

    let mixed = tenants().trust(AuthorizationServer::okta_org(scene.okta.origin()).audience("a"));
    let explanation = scene.explanation_by(mixed.build().unwrap(), &token).await;
    let text = scene.text(&explanation);
    assert!(
        text.contains("\n  and the tenants that the resolver knows\n"),
        "{text}"
    );
    let detail = "\"https://company.okta.com/oauth2/stranger\" is no tenant's, says the resolver, and not trusted, but https://company.okta.com: ";
    assert!(text.contains(detail), "{text}");

    // Of a tenant's keys as much is said as of others'.
    let token = scene.mint(json!({}));
    let explanation = scene
        .explanation_by(tenants().build().unwrap(), &token)
        .await;
    let text = scene.text(&explanation);
    assert!(text.contains("v1/keys: 1 key\n"), "{text}");
    assert!(explanation.verdict.is_ok());
}

#[tokio::test]
async fn keys_that_the_metadata_says() {
    let scene = Scene::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let metadata = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") });
    let jwks = json!({ "keys": [scene.issuer.key().jwk(), { "kty": "other" }] });
    let documents = axum::Router::new()
        .route(
            "/.well-known/openid-configuration",
            axum::routing::get(async move || metadata.to_string()),
        )
        .route("/keys", axum::routing::get(async move || jwks.to_string()));
    tokio::spawn(async move { axum::serve(listener, documents).await });

    let server = AuthorizationServer::discover(issuer.as_str()).audience("api://default");
    let explanation = scene.explanation(server, "").await;
    let text = explanation
        .to_string()
        .replace(&issuer, "https://id.example");
    golden("discovered", &text);
}

#[cfg(feature = "introspection")]
#[tokio::test]
async fn what_an_authorization_server_says_of_a_token() {
    use portcullis::{ClientAuthentication, Introspection};

    let scene = Scene::new().await;
    let answers = std::sync::Arc::new(std::sync::Mutex::new(Value::Null));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/introspect", listener.local_addr().unwrap());
    let answer = std::sync::Arc::clone(&answers);
    let answer = async move || answer.lock().unwrap().to_string();
    let router = axum::Router::new().route("/introspect", axum::routing::post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let client = ClientAuthentication::basic("api", "s3cret-of-the-client");
    let introspection = Introspection::new(&endpoint, client);
    let server = || {
        AuthorizationServer::introspected("https://id.example", introspection.clone())
            .audience("api://default")
            .require_claim("hd")
            .max_token_age(Duration::from_secs(3_600))
    };
    let now = 1_767_225_600_u64;
    let good = json!({
        "active": true, "sub": "joe", "aud": "api://default", "hd": "company", "iat": now,
    });
    let explain = async |changes: Value| {
        let mut said = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            said[name] = value.clone();
        }
        *answers.lock().unwrap() = said;
        let explanation = scene.explanation(server(), "opaque-token").await;
        assert!(!explanation.to_string().contains("s3cret"), "{explanation}");
        explanation
    };
    golden("introspected", &explain(json!({})).await.to_string());

    let mut texts = Vec::new();
    for changes in [
        json!({ "active": false }),
        json!({ "iss": "https://other.example" }),
        json!({ "token_type": "DPoP" }),
        json!({ "token_type": "refresh_token" }),
        json!({ "aud": "api://orders" }),
        json!({ "hd": null }),
        json!({ "exp": now - 3_600 }),
        json!({ "iat": now - 7_200 }),
        json!({ "iat": "now" }),
        json!({ "sub": 7 }),
    ] {
        texts.push(failure(&explain(changes).await));
    }
    golden("introspected-and-refused", &texts.join("\n"));
}

/// Settings that are none: what the example says before it looks at a token.
#[test]
fn settings_that_trust_nobody() {
    let settings = |vars: &[(&str, &str)]| {
        let error = ResourceServer::from_vars(vars.iter().copied()).unwrap_err();
        format!("{error}\n")
    };
    let text = [
        settings(&[
            ("AUTH_PROVIDERS", "okta"),
            ("OKTA_ORG_DOMAIN", "https://{yourOktaDomain}"),
            ("OKTA_AUDIENCE", "api://default"),
            ("JWKS_CACHE_TTL", "604800"),
        ]),
        settings(&[
            ("AUTH_PROVIDERS", "azure-ad"),
            ("AZURE_TENANT_ID", "common"),
            ("AZURE_CLIENT_ID", "72f988bf-86f1-41af-91ab-2d7cd011db47"),
        ]),
        settings(&[
            ("AUTH_PROVIDERS", "kaycloak"),
            ("KEYCLOAK_URL", "id.company.example"),
        ]),
    ];
    golden("settings", &text.join("\n"));
}
