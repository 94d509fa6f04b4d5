use std::time::Duration;

use super::*;
use crate::claim::ListClaim;
use crate::{AuthorizationServer, Role, TokenCachePolicy};

const GOOD: [(&str, &str); 3] = [
    ("AUTH_PROVIDERS", "okta"),
    ("OKTA_ORG_DOMAIN", "company.okta.com"),
    ("OKTA_AUDIENCE", "api://boilstream"),
];

/// Later ones win; `(unset)` takes one out.
fn build(changes: &[(&str, &str)]) -> Result<ResourceServer, SettingsError> {
    let mut vars: HashMap<&str, &str> = GOOD.into_iter().chain(changes.iter().copied()).collect();
    vars.retain(|_, value| *value != "(unset)");
    ResourceServer::from_vars(vars)
}

fn issuers(changes: &[(&str, &str)]) -> Vec<String> {
    let policy = build(changes).unwrap();
    let servers = policy.authorization_servers().iter();
    servers.map(|server| server.issuer().to_owned()).collect()
}

fn wrong(changes: &[(&str, &str)]) -> Vec<String> {
    match build(changes) {
        Ok(_) => Vec::new(),
        Err(error) => error.0.into_iter().map(|m| m.setting).collect(),
    }
}

#[test]
fn three_variables_are_enough() {
    assert_eq!(issuers(&[]), ["https://company.okta.com/oauth2/default"]);
}

#[test]
fn several_custom_servers_and_the_org_server_at_once() {
    assert_eq!(
        issuers(&[
            ("OKTA_AUTH_SERVER_ID", "default, aus1"),
            ("OKTA_ALLOW_ORG_SERVER", "true"),
            ("OKTA_CLIENT_ID", "0oa1"),
        ]),
        [
            "https://company.okta.com/oauth2/default",
            "https://company.okta.com/oauth2/aus1",
            "https://company.okta.com",
        ]
    );
}

#[test]
fn a_client_id_alone_does_not_bring_the_org_server() {
    let with_client_id = [
        ("OKTA_CLIENT_ID", "0oa1"),
        ("OKTA_ALLOW_ORG_SERVER", "false"),
    ];
    assert_eq!(issuers(&with_client_id).len(), 1);
}

#[test]
fn group_names_are_trimmed_and_empty_ones_left_out() {
    let policy = build(&[
        ("ADMIN_GROUPS", " DataEngineers ,, "),
        ("READ_ONLY_GROUPS", ""),
        ("WRITE_GROUPS", "ETL Developers,DataEngineers"),
    ])
    .unwrap();
    let roles = &policy.authorization_servers()[0].roles;
    assert_eq!(roles.role_of(["DataEngineers"]), Some(Role::Admin));
    assert_eq!(roles.role_of(["ETL Developers"]), Some(Role::Write));
    assert_eq!(roles.role_of([""]), None);
}

#[test]
fn settings_reach_the_policy() {
    let policy = build(&[
        ("JWKS_CACHE_TTL", "2"),
        ("JWKS_MAX_KEYS", "7"),
        ("CLOCK_LEEWAY", "0"),
        ("OKTA_GROUPS_CLAIM", "https://app/teams"),
        ("OKTA_ALLOWED_CLIENTS", "a, b"),
    ])
    .unwrap();
    let server = &policy.authorization_servers()[0];
    assert_eq!(server.jwks.ttl_cap, Duration::from_secs(2));
    assert_eq!(server.jwks.max_keys, 7);
    assert_eq!(policy.leeway(), Duration::ZERO);
    assert_eq!(
        *server.groups_claims,
        [ListClaim::from("https://app/teams")]
    );
    assert_eq!(server.allowed_clients.as_ref().unwrap().len(), 2);
}

#[test]
fn every_mistake_is_reported_at_once() {
    let mut wrong = wrong(&[
        ("AUTH_PROVIDERS", "okto"),
        ("OKTA_ORG_DOMAIN", "{yourOktaDomain}"),
        ("OKTA_AUDIENCE", "(unset)"),
        ("OKTA_AUTH_SERVER_ID", "default,,x"),
        ("OKTA_ALLOW_ORG_SERVER", "yes"),
        ("JWKS_CACHE_TTL", "1h"),
        ("JWKS_MAX_KEYS", "0"),
        ("CLOCK_LEEWAY", "-1"),
    ]);
    wrong.sort();
    assert_eq!(
        wrong,
        [
            "AUTH_PROVIDERS",
            "CLOCK_LEEWAY",
            "JWKS_CACHE_TTL",
            "JWKS_MAX_KEYS",
            "OKTA_ALLOW_ORG_SERVER",
            "OKTA_AUDIENCE",
            "OKTA_AUTH_SERVER_ID",
            "OKTA_ORG_DOMAIN",
        ]
    );
}

#[test]
fn each_slip_is_a_mistake_of_its_variable() {
    for (variable, value) in [
        ("AUTH_PROVIDERS", ""),
        ("AUTH_PROVIDERS", "Okta"),
        ("AUTH_PROVIDERS", "okta,"),
        ("AUTH_PROVIDERS", "okta,okta"),
        ("OKTA_ORG_DOMAIN", ""),
        ("OKTA_ORG_DOMAIN", "company-admin.okta.com"),
        ("OKTA_ORG_DOMAIN", "http://company.okta.com"),
        ("OKTA_AUDIENCE", ""),
        ("OKTA_AUTH_SERVER_ID", ""),
        ("OKTA_AUTH_SERVER_ID", "a,a"),
        (
            "OKTA_AUTH_SERVER_ID",
            "https://company.okta.com/oauth2/default",
        ),
        ("OKTA_ALLOW_ORG_SERVER", ""),
        ("OKTA_ALLOW_ORG_SERVER", "TRUE"),
        ("OKTA_CLIENT_ID", ""),
        ("OKTA_ALLOWED_CLIENTS", ""),
        ("OKTA_ALLOWED_CLIENTS", "a,,b"),
        ("OKTA_GROUPS_CLAIM", ""),
        ("JWKS_CACHE_TTL", "0"),
        ("JWKS_CACHE_TTL", "86401"),
        ("JWKS_CACHE_TTL", "+5"),
        ("JWKS_CACHE_TTL", ""),
        ("JWKS_MAX_KEYS", "1e2"),
        ("CLOCK_LEEWAY", "301"),
        ("CLOCK_LEEWAY", "1.5"),
        ("CLOCK_LEEWAY", "99999999999999999999"),
        ("TOKEN_CACHE_MAX_ENTRIES", "16777217"),
        ("TOKEN_CACHE_MAX_ENTRIES", "-1"),
        ("TOKEN_CACHE_MAX_BYTES", "65535"),
        ("TOKEN_CACHE_MAX_BYTES", "16M"),
        ("TOKEN_CACHE_MAX_BYTES", ""),
    ] {
        assert_eq!(
            wrong(&[(variable, value)]),
            [variable],
            "{variable}={value:?}"
        );
    }
    assert_eq!(
        wrong(&[("OKTA_ALLOW_ORG_SERVER", "true")]),
        ["OKTA_CLIENT_ID"]
    );
}

#[test]
fn the_token_cache_is_bounded_or_off() {
    let policy = |vars: &[(&str, &str)]| build(vars).unwrap().token_cache().clone();
    assert_eq!(policy(&[]), TokenCachePolicy::default());
    let bounded = policy(&[
        ("TOKEN_CACHE_MAX_ENTRIES", "7"),
        ("TOKEN_CACHE_MAX_BYTES", "65536"),
    ]);
    let expected = TokenCachePolicy::default().max_entries(7).max_bytes(65_536);
    assert_eq!(bounded, expected);
    for name in ["TOKEN_CACHE_MAX_ENTRIES", "TOKEN_CACHE_MAX_BYTES"] {
        assert!(!policy(&[(name, "0")]).is_on(), "{name}");
    }
}

#[test]
fn a_name_that_is_one_slip_away_is_a_mistake() {
    for slip in [
        "OKTA_ALLOWED_CLIENT",
        "OKTA_AUDIENCES",
        "JWKS_CACHE_TTI",
        "ADMINGROUPS",
    ] {
        assert_eq!(wrong(&[(slip, "x")]), [slip]);
    }
    for other in [
        "OKTA_DOMAIN",
        "OKTA_CLIENT_SECRET",
        "OKTA_CLIENT_TOKEN",
        "PATH",
        "",
    ] {
        assert!(wrong(&[(other, "x")]).is_empty(), "{other}");
    }
}

#[test]
fn messages_name_variable_value_and_remedy() {
    let error = build(&[("OKTA_ORG_DOMAIN", "company-admin.okta.com")]).unwrap_err();
    let text = error.to_string();
    for part in [
        "OKTA_ORG_DOMAIN",
        "\"company-admin.okta.com\"",
        "\"company.okta.com\"",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let unset = build(&[("OKTA_AUDIENCE", "(unset)")])
        .unwrap_err()
        .to_string();
    assert!(
        unset.contains("OKTA_AUDIENCE is not set: expected"),
        "{unset}"
    );
}

#[cfg(unix)]
#[test]
fn values_that_are_not_text_are_mistakes() {
    use std::os::unix::ffi::OsStringExt;

    let good = GOOD.map(|(name, value)| (name, OsString::from(value)));
    let bad = [("ADMIN_GROUPS", OsString::from_vec(vec![0xFF]))];
    let error = ResourceServer::from_vars(good.into_iter().chain(bad));
    assert_eq!(error.unwrap_err().mistakes()[0].setting, "ADMIN_GROUPS");
}

/// What is enough for each provider, and what it makes.
type Vars = &'static [(&'static str, &'static str)];

const PROVIDERS: [(Vars, &[&str]); 17] = [
    (
        &[
            ("AUTH_PROVIDERS", "auth0"),
            ("AUTH0_DOMAIN", "login.company.example"),
            ("AUTH0_AUDIENCE", "api"),
        ],
        &["https://login.company.example/"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "auth0"),
            ("AUTH0_TENANT", "company.eu"),
            ("AUTH0_AUDIENCE", "api"),
        ],
        &["https://company.eu.auth0.com/"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "azure-ad"),
            ("AZURE_TENANT_ID", GUID),
            ("AZURE_CLIENT_ID", GUID),
        ],
        &["https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "entra-id"),
            ("AZURE_ALLOW_MULTI_TENANT", "true"),
            ("AZURE_TENANT_ID", "common"),
            ("AZURE_ALLOWED_TENANTS", GUID),
            ("AZURE_CLIENT_ID", GUID),
        ],
        &["https://login.microsoftonline.com/{tenantid}/v2.0"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "azure"),
            ("AZURE_ALLOW_MULTI_TENANT", "true"),
            ("AZURE_ALLOWED_TENANTS", "*"),
            ("AZURE_CLIENT_ID", GUID),
        ],
        &["https://login.microsoftonline.com/{tenantid}/v2.0"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "cognito"),
            ("COGNITO_USER_POOL_ID", "eu-west-1_a1B2c3D4e"),
            ("COGNITO_REGION", "eu-west-1"),
            ("COGNITO_AUDIENCE", "1example23456789"),
        ],
        &["https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_a1B2c3D4e"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "gcp"),
            ("GCP_CLIENT_ID", "1.apps.googleusercontent.com"),
        ],
        &["https://accounts.google.com"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "google"),
            ("GCP_PROJECT_ID", "company-app"),
        ],
        &["https://securetoken.google.com/company-app"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "google-iap"),
            ("GOOGLE_IAP_AUDIENCE", "/projects/1/apps/company"),
            ("TOKEN_HEADER", "x-goog-iap-jwt-assertion"),
        ],
        &["https://cloud.google.com/iap"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "keycloak"),
            ("KEYCLOAK_URL", "https://id.company.example/auth/"),
            ("KEYCLOAK_REALM", "company"),
            ("KEYCLOAK_AUDIENCE", "api"),
            (
                "KEYCLOAK_JWKS_URI",
                "http://keycloak:8080/auth/realms/company/protocol/openid-connect/certs",
            ),
            ("KEYCLOAK_DANGEROUS_ALLOW_PLAIN_HTTP", "true"),
        ],
        &["https://id.company.example/auth/realms/company"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "pingone"),
            ("PINGONE_DOMAIN", "auth.pingone.eu"),
            ("PINGONE_ENVIRONMENT_ID", GUID),
            ("PINGONE_AUDIENCE", "api"),
        ],
        &["https://auth.pingone.eu/72f988bf-86f1-41af-91ab-2d7cd011db47/as"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "zitadel"),
            ("ZITADEL_DOMAIN", "id.company.example"),
            ("ZITADEL_PROJECT_ID", "1"),
        ],
        &["https://id.company.example"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "authentik"),
            ("AUTHENTIK_URL", "id.company.example"),
            ("AUTHENTIK_APPLICATION", "orders"),
            ("AUTHENTIK_AUDIENCE", "api"),
        ],
        &["https://id.company.example/application/o/orders/"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "github-actions"),
            ("GITHUB_ACTIONS_OWNER_IDS", "1, 2"),
            ("GITHUB_ACTIONS_AUDIENCE", "api"),
        ],
        &["https://token.actions.githubusercontent.com"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "kubernetes"),
            (
                "KUBERNETES_ISSUER",
                "https://kubernetes.default.svc.cluster.local",
            ),
            ("KUBERNETES_AUDIENCE", "api"),
            ("KUBERNETES_JWKS_FILE", "/etc/keys/cluster.json"),
        ],
        &["https://kubernetes.default.svc.cluster.local"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "oidc, oidc_partners"),
            ("OIDC_ISSUER", "https://id.company.example"),
            ("OIDC_AUDIENCE", "api"),
            ("OIDC_PARTNERS_ISSUER", "https://id.partner.example/"),
            ("OIDC_PARTNERS_AUDIENCE", "api"),
        ],
        &["https://id.company.example", "https://id.partner.example/"],
    ),
    (
        &[
            ("AUTH_PROVIDERS", "auth0,okta"),
            ("AUTH0_DOMAIN", "company.eu.auth0.com"),
            ("AUTH0_AUDIENCE", "api"),
            ("OKTA_ORG_DOMAIN", "company.okta.com"),
            ("OKTA_AUDIENCE", "api"),
        ],
        &[
            "https://company.eu.auth0.com/",
            "https://company.okta.com/oauth2/default",
        ],
    ),
];

const GUID: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

fn from(vars: &[(&str, &str)]) -> Result<ResourceServer, SettingsError> {
    ResourceServer::from_vars(vars.iter().copied())
}

#[test]
fn each_provider_is_made_from_its_variables() {
    for (vars, issuers) in PROVIDERS {
        let policy = from(vars).unwrap();
        let found = policy.authorization_servers().iter();
        let found: Vec<_> = found.map(AuthorizationServer::issuer).collect();
        assert_eq!(found, issuers);
    }
}

/// Whatever is missing of what is enough, is said by name.
#[test]
fn half_of_a_provider_is_a_mistake() {
    for (vars, _) in PROVIDERS {
        for (left_out, _) in vars {
            // Some only add to what is there without them.
            let adds = [
                "COGNITO_REGION",
                "KEYCLOAK_JWKS_URI",
                "KUBERNETES_JWKS_FILE",
                "DANGEROUS_ALLOW_PLAIN_HTTP",
            ];
            if adds.iter().any(|name| left_out.ends_with(name))
                || *left_out == "AZURE_TENANT_ID" && vars.len() > 3
            {
                continue;
            }
            let rest: Vec<_> = vars
                .iter()
                .copied()
                .filter(|(name, _)| name != left_out)
                .collect();
            let error = from(&rest).unwrap_err().to_string();
            let mentions = match *left_out {
                "AUTH0_TENANT" => "AUTH0_DOMAIN",
                "GCP_PROJECT_ID" => "GCP_CLIENT_ID",
                "AZURE_ALLOW_MULTI_TENANT" => "AZURE_ALLOWED_TENANTS",
                name => name,
            };
            assert!(error.contains(mentions), "without {left_out}: {error}");
        }
    }
}

#[test]
fn what_contradicts_itself_or_is_none_is_a_mistake_of_its_variable() {
    let cases: [(Vars, usize, &str); 26] = [
        (&[("AUTH_PROVIDERS", "kaycloak")], 9, "AUTH_PROVIDERS"),
        (&[("AUTH_PROVIDERS", "oidc_")], 15, "AUTH_PROVIDERS"),
        (&[("AUTH0_TENANT", "company")], 0, "AUTH0_TENANT"),
        (
            &[("AUTH0_DOMAIN", "your-tenant.auth0.com")],
            0,
            "AUTH0_DOMAIN",
        ),
        (
            &[("AUTH0_DOMAIN", "company.auth0.com/x")],
            0,
            "AUTH0_DOMAIN",
        ),
        (
            &[
                ("AUTH0_GROUPS_NAMESPACE", "https://x"),
                ("AUTH0_GROUPS_CLAIM", "y"),
            ],
            0,
            "AUTH0_GROUPS_NAMESPACE",
        ),
        (&[("AZURE_TENANT_ID", "common")], 2, "AZURE_TENANT_ID"),
        (
            &[("AZURE_TENANT_ID", "company.onmicrosoft.com")],
            2,
            "AZURE_TENANT_ID",
        ),
        (
            &[("AZURE_ALLOWED_TENANTS", GUID)],
            2,
            "AZURE_ALLOWED_TENANTS",
        ),
        (
            &[("AZURE_ALLOWED_TENANTS", "company.example")],
            3,
            "AZURE_ALLOWED_TENANTS",
        ),
        (
            &[("COGNITO_REGION", "us-east-1")],
            5,
            "COGNITO_USER_POOL_ID",
        ),
        (
            &[("COGNITO_USER_POOL_ID", "a/b_c")],
            5,
            "COGNITO_USER_POOL_ID",
        ),
        (&[("COGNITO_TOKEN_USE", "refresh")], 5, "COGNITO_TOKEN_USE"),
        (&[("TOKEN_HEADER", "x y")], 8, "TOKEN_HEADER"),
        (&[("TOKEN_HEADER", "Authorization")], 8, "TOKEN_HEADER"),
        (&[("KEYCLOAK_REALM", "a/../b")], 9, "KEYCLOAK_REALM"),
        (
            &[("KEYCLOAK_DANGEROUS_ALLOW_PLAIN_HTTP", "false")],
            9,
            "KEYCLOAK_JWKS_URI",
        ),
        (
            &[("KEYCLOAK_JWKS_FILE", "/etc/keys.json")],
            9,
            "KEYCLOAK_JWKS_FILE",
        ),
        (
            &[("KEYCLOAK_GROUPS_CLAIM", "/a~2")],
            9,
            "KEYCLOAK_GROUPS_CLAIM",
        ),
        (
            &[("KEYCLOAK_GROUPS_CLAIM_FORMAT", "keys")],
            9,
            "KEYCLOAK_GROUPS_CLAIM_FORMAT",
        ),
        (
            &[("KEYCLOAK_REQUIRED_CLAIMS", "=x")],
            9,
            "KEYCLOAK_REQUIRED_CLAIMS",
        ),
        (
            &[("KEYCLOAK_ALGORITHMS", "HS256")],
            9,
            "KEYCLOAK_ALGORITHMS",
        ),
        (
            &[("KEYCLOAK_ISSUER_ALIASES", "id.example")],
            9,
            "KEYCLOAK_ISSUER_ALIASES",
        ),
        (
            &[("PINGONE_ENVIRONMENT_ID", "x")],
            10,
            "PINGONE_ENVIRONMENT_ID",
        ),
        (
            &[("GITHUB_ACTIONS_OWNER_IDS", "company")],
            13,
            "GITHUB_ACTIONS_OWNER_IDS",
        ),
        (&[("SCOPE_HIERARCHY", "admin")], 0, "SCOPE_HIERARCHY"),
    ];
    for (changes, provider, setting) in cases {
        let changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
        let vars = PROVIDERS[provider].0.iter().copied();
        let vars: Vec<_> = vars
            .filter(|(name, _)| !changed(name))
            .chain(changes.iter().copied())
            .collect();
        let Err(error) = from(&vars) else {
            panic!("{changes:?} was taken")
        };
        let found: Vec<_> = error
            .mistakes()
            .iter()
            .map(|m| m.setting.as_str())
            .collect();
        assert_eq!(found, [setting], "{changes:?}: {error}");
    }
    let unknown = from(&[("AUTH_PROVIDERS", "keycloack")])
        .unwrap_err()
        .to_string();
    assert!(unknown.contains("`keycloak`?"), "{unknown}");
}

#[test]
fn groups_are_those_for_all_unless_the_provider_has_its_own() {
    let vars = [
        ("AUTH_PROVIDERS", "auth0,okta,kubernetes"),
        ("ADMIN_GROUPS", "Admins"),
        ("READ_ONLY_GROUPS", "Everyone"),
        ("AUTH0_DOMAIN", "company.eu.auth0.com"),
        ("AUTH0_AUDIENCE", "api"),
        ("AUTH0_ADMIN_GROUPS", "auth0-admins"),
        ("OKTA_ORG_DOMAIN", "company.okta.com"),
        ("OKTA_AUDIENCE", "api"),
        ("OKTA_READ_ONLY_GROUPS", ""),
        ("KUBERNETES_ISSUER", "https://kubernetes.default.svc"),
        ("KUBERNETES_AUDIENCE", "api"),
        ("KUBERNETES_WRITE_GROUPS", "billing"),
    ];
    let policy = from(&vars).unwrap();
    let roles = |at: usize, group| policy.authorization_servers()[at].roles.role_of([group]);
    let expected = [
        ("Admins", [None, Some(Role::Admin), None]),
        ("auth0-admins", [Some(Role::Admin), None, None]),
        ("Everyone", [Some(Role::Read), None, None]),
        ("billing", [None, None, Some(Role::Write)]),
    ];
    for (group, expected) in expected {
        assert_eq!([0, 1, 2].map(|at| roles(at, group)), expected, "{group}");
    }
}

#[test]
fn a_file_says_the_same_in_each_language() {
    let toml = r#"
        auth_providers = ["okta", "azure-ad", "oidc_partners"]
        admin_groups = ["Admins, of all", "Owners"]
        clock_leeway = 30
        scope_hierarchy = "admin>read"
        [okta]
        org_domain = "company.okta.com"
        audience = ["api://a", "api://b"]
        allow_org_server = false
        [azure-ad]
        tenant_id = "72f988bf-86f1-41af-91ab-2d7cd011db47"
        client_id = "72f988bf-86f1-41af-91ab-2d7cd011db47"
        admin_groups = []
        [oidc_partners]
        issuer = "https://id.partner.example"
        audience = "api"
        required_claims = ["department=billing", "email_verified=true"]
        [auth0]
        domain = "of somebody who is not trusted at the moment"
    "#;
    let value: toml::Value = toml::from_str(toml).unwrap();
    let configs: [ResourceServerConfig; 3] = [
        toml::from_str(toml).unwrap(),
        serde_json::from_str(&serde_json::to_string(&value).unwrap()).unwrap(),
        serde_yaml_ng::from_str(&serde_yaml_ng::to_string(&value).unwrap()).unwrap(),
    ];
    for config in configs {
        let policy = config.clone().build().unwrap();
        let servers = policy.authorization_servers();
        assert_eq!(servers.len(), 3);
        assert_eq!(policy.leeway(), Duration::from_secs(30));
        assert_eq!(
            servers[0].roles.role_of(["Admins, of all"]),
            Some(Role::Admin)
        );
        assert_eq!(servers[1].roles.role_of(["Owners"]), None);
        assert_eq!(servers[2].claim_rules.len(), 2);
        assert_eq!(servers[0].scope_hierarchy.included_in("admin"), ["read"]);

        let vars = [("AUTH_PROVIDERS", "okta"), ("OKTA_AUDIENCE", "api://c")];
        let overlaid = config.with_vars(vars).build().unwrap();
        let [okta] = overlaid.authorization_servers() else {
            panic!("the environment's list counts")
        };
        assert_eq!(
            okta.audience,
            crate::authorization_server::Audience::AnyOf(vec!["api://c".to_owned()])
        );
    }
}

#[test]
fn mistakes_of_a_file_are_named_as_they_are_written_there() {
    let build = |json: &str| {
        let config: ResourceServerConfig = serde_json::from_str(json).unwrap();
        config
            .with_vars([("OKTA_AUDIENCE", " ")])
            .build()
            .unwrap_err()
    };
    let error = build(
        r#"{"auth_providers":"okta","clock_leway":1,"okta":{"org_domain":"{yourOktaDomain}","audience":"api","x":1}}"#,
    );
    let found: Vec<_> = error
        .mistakes()
        .iter()
        .map(|m| m.setting.as_str())
        .collect();
    assert_eq!(
        found,
        ["OKTA_AUDIENCE", "okta.org_domain", "clock_leway", "okta.x"],
        "{error}"
    );
    assert!(
        error.to_string().contains("clock_leeway, perhaps"),
        "{error}"
    );
    for bad in [
        r#"{"okta":{"audience":{"a":1}}}"#,
        r#"{"okta":{"audience":[["a"]]}}"#,
        r#"{"okta":{"audience":"a","AUDIENCE":"b"}}"#,
        "[]",
    ] {
        assert!(
            serde_json::from_str::<ResourceServerConfig>(bad).is_err(),
            "{bad}"
        );
    }
}

/// Secrets among the settings are not printed by whoever prints his configuration.
#[test]
fn a_configuration_shows_names_alone() {
    let config: ResourceServerConfig =
        serde_json::from_str(r#"{"okta":{"audience":"s3cret"}}"#).unwrap();
    let text = format!("{:?}", config.with_vars([("X", "s3cret")]));
    assert!(
        text.contains("okta.audience") && !text.contains("s3cret"),
        "{text}"
    );
}

#[cfg(feature = "introspection")]
#[test]
fn opaque_tokens_are_asked_about_as_a_client() {
    let url = (
        "OKTA_INTROSPECTION_URL",
        "https://company.okta.com/oauth2/default/v1/introspect",
    );
    let id = ("OKTA_INTROSPECTION_CLIENT_ID", "0oa1");
    let secret = ("OKTA_INTROSPECTION_CLIENT_SECRET", "s3cret");
    let policy = build(&[url, id, secret]).unwrap();
    let introspection = policy.authorization_servers()[0]
        .introspection
        .as_ref()
        .unwrap();
    assert!(!introspection.is_for_jwts);
    for (changes, setting) in [
        (vec![url, secret], "OKTA_INTROSPECTION_CLIENT_ID"),
        (vec![url, id], "OKTA_INTROSPECTION_CLIENT_SECRET"),
        (vec![id], "OKTA_INTROSPECTION_CLIENT_ID"),
        (
            vec![("OKTA_INTROSPECTION_URL", "http://x.example"), id, secret],
            "OKTA_INTROSPECTION_URL",
        ),
        (
            vec![url, id, secret, ("OKTA_AUTH_SERVER_ID", "a,b")],
            "OKTA_INTROSPECTION_URL",
        ),
    ] {
        assert_eq!(wrong(&changes), [setting], "{changes:?}");
        let text = build(&changes).unwrap_err().to_string();
        assert!(!text.contains("s3cret"), "{text}");
    }
    let unread = ("OKTA_INTROSPECTION_CLIENT_KEY_FILE", "/nowhere.pem");
    assert!(build(&[url, id, unread]).is_err());
}

#[test]
fn what_restricts_is_never_ignored() {
    let vars = [
        ("AUTH_PROVIDERS", "github-actions"),
        ("GITHUB_ACTIONS_HOST", "github.company.example"),
        ("GITHUB_ACTIONS_OWNER_IDS", "42"),
        ("GITHUB_ACTIONS_AUDIENCE", "api"),
    ];
    let policy = from(&vars).unwrap();
    assert_eq!(policy.authorization_servers()[0].claim_rules.len(), 1);
    let vars = [
        ("AUTH_PROVIDERS", "gcp"),
        ("GCP_PROJECT_ID", "company-app"),
        ("GCP_HOSTED_DOMAIN", "company.example"),
    ];
    let error = from(&vars).unwrap_err();
    assert_eq!(error.mistakes()[0].setting, "GCP_HOSTED_DOMAIN");
}

/// A slip in the name of a secret must not print it.
#[test]
fn what_a_variable_with_a_slip_says_is_not_shown() {
    let error = build(&[("OKTA_AUDIENCES", "hunter2")])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("OKTA_AUDIENCES") && !error.contains("hunter2"),
        "{error}"
    );
}
