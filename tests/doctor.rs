//! What the doctor says of setups that do not work, kept in `tests/doctor/`. To write it anew, after a
//! look at each difference: `UPDATE_GOLDEN=1 cargo test --all-features --test doctor`.
#![cfg(feature = "test-util")]

use std::{fs, path::PathBuf, time::Duration};

use portcullis::{
    Algorithm, AuthorizationServer, Doctor, ResourceServer, Role, RoleMapping, UnixTime,
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
        let policy = ResourceServer::builder().trust(server).build().unwrap();
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
        text.replace(self.okta.origin(), "https://company.okta.com")
    }
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
