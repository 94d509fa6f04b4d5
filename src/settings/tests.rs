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
        ("AUTH_PROVIDERS", "Okta,okta"),
        ("AUTH_PROVIDERS", ";"),
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
        "OKTA_SCOPE_HIERARCHY",
        "OKTA_CLOCK_LEEWAY",
        "OKTA_JWKS_CACHE_TTL",
        "OKTA_TOKEN_HEADER",
    ] {
        assert_eq!(wrong(&[(slip, "x")]), [slip]);
    }
    for other in [
        "OKTA_DOMAIN",
        "OKTA_CLIENT_SECRET",
        "OKTA_CLIENT_TOKEN",
        "AUTH0_CLOCK_LEEWAY",
        "AUTH0_AUDIENCES",
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
    let cases: [(Vars, usize, &str); 36] = [
        (&[("AUTH0_AUDIENCE", "${AUDIENCE}")], 0, "AUTH0_AUDIENCE"),
        (
            &[("AUTH0_AUDIENCE", "api,your-audience")],
            0,
            "AUTH0_AUDIENCE",
        ),
        (
            &[("AUTH0_ALLOWED_CLIENTS", "YOUR_CLIENT_ID")],
            0,
            "AUTH0_ALLOWED_CLIENTS",
        ),
        (&[("AZURE_CLIENT_ID", "orders")], 2, "AZURE_CLIENT_ID"),
        (&[("AZURE_CLIENT_ID", "<client id>")], 2, "AZURE_CLIENT_ID"),
        (&[("AZURE_AUDIENCE", "changeme")], 2, "AZURE_AUDIENCE"),
        (&[("COGNITO_AUDIENCE", "xxx")], 5, "COGNITO_AUDIENCE"),
        (
            &[("KEYCLOAK_URL", "https://id.company.example/realms/company")],
            9,
            "KEYCLOAK_URL",
        ),
        (
            &[("KEYCLOAK_REQUIRED_ACR", "a b")],
            9,
            "KEYCLOAK_REQUIRED_ACR",
        ),
        (&[("KEYCLOAK_REQUIRED_AMR", "")], 9, "KEYCLOAK_REQUIRED_AMR"),
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
    assert!(unknown.contains("`keycloak`, perhaps?"), "{unknown}");
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

/// What is said of a mistake, word by word; `…` stands for the rest.
#[test]
fn mistakes_say_what_to_write() {
    let cases: [(Vars, &[&str]); 20] = [
        (
            &[("OKTA_AUDIENCES", "hunter2")],
            &["OKTA_AUDIENCES is set, but no such variable is read: OKTA_AUDIENCE, perhaps?"],
        ),
        (
            &[("OKTA_CLOCK_LEEWAY", "5")],
            &[
                "OKTA_CLOCK_LEEWAY is set, but no such variable is read: CLOCK_LEEWAY is for all providers",
            ],
        ),
        (
            &[("OKTA_ORG_DOMAIN", "${DOMAIN}")],
            &["OKTA_ORG_DOMAIN is \"${DOMAIN}\", which is a placeholder: write the domain of …"],
        ),
        (
            &[("OKTA_AUDIENCE", "api, {audience}")],
            &[
                "OKTA_AUDIENCE is \"{audience}\", which is a placeholder: write the `aud` of tokens …",
            ],
        ),
        (
            &[
                ("AUTH_PROVIDERS", "auth0"),
                ("AUTH0_TENANT", "{tenant}"),
                ("AUTH0_AUDIENCE", "api"),
            ],
            &["AUTH0_TENANT is \"{tenant}\", which is a placeholder: write …"],
        ),
        (
            &[("AUTH_PROVIDERS", "okta foo")],
            &[
                "AUTH_PROVIDERS is \"okta foo\": separate them with commas",
                "AUTH_PROVIDERS is \"foo\", which is no provider: there are `okta`, …",
            ],
        ),
        (
            &[("AUTH_PROVIDERS", "Okto,foo")],
            &[
                "AUTH_PROVIDERS is \"Okto\", which is no provider: `okta`, perhaps? There are `okta`, …",
                "AUTH_PROVIDERS is \"foo\", which is no provider",
            ],
        ),
        (
            &[("OKTA_AUDIENCE", "(unset)")],
            &["OKTA_AUDIENCE is not set: expected the `aud` …"],
        ),
        (
            &[
                ("OKTA_JWKS_URI", "https://a.example"),
                ("OKTA_AUTH_SERVER_ID", "a,b"),
            ],
            &["OKTA_JWKS_URI is set, but cannot be with several authorization servers"],
        ),
        (
            &[
                ("OKTA_JWKS_URI", "https://a.example"),
                ("OKTA_JWKS_FILE", "/a"),
            ],
            &["OKTA_JWKS_FILE is set, but OKTA_JWKS_URI says otherwise"],
        ),
        (
            &[("OKTA_GROUPS_CLAIM_FORMAT", "keys")],
            &["OKTA_GROUPS_CLAIM_FORMAT is set, but is of no use without OKTA_GROUPS_CLAIM"],
        ),
        (
            &[("OKTA_REQUIRED_ACR", "\"")],
            &["OKTA_REQUIRED_ACR is \"\\\"\": expected authentication contexts, …"],
        ),
        (
            &[("OKTA_CLIENT_ID", "your-client-id")],
            &["OKTA_CLIENT_ID is \"your-client-id\", which is a placeholder: write a client id, …"],
        ),
        (
            &[
                ("AUTH_PROVIDERS", "Azure-AD"),
                ("AZURE_TENANT_ID", "contoso"),
                ("AZURE_CLIENT_ID", "api"),
            ],
            &[
                "AZURE_CLIENT_ID is \"api\": expected the client id of the API's registration, a GUID",
                "AZURE_TENANT_ID is \"contoso\", which is not an id: write …",
            ],
        ),
        (
            &[
                ("AUTH_PROVIDERS", "keycloak"),
                ("KEYCLOAK_URL", "id.example/auth/realms/company/"),
                ("KEYCLOAK_AUDIENCE", "api"),
            ],
            &[
                "KEYCLOAK_REALM is not set: …",
                "KEYCLOAK_URL is \"id.example/auth/realms/company/\", which has a realm in it: write only what is in front of \"/realms/…\"",
            ],
        ),
        (
            &[
                ("AUTH_PROVIDERS", "keycloak"),
                ("KEYCLOAK_URL", "id.example"),
                ("KEYCLOAK_REALM", "company"),
                ("KEYCLOAK_AUDIENC", "api"),
            ],
            &[
                "KEYCLOAK_AUDIENCE is not set: …",
                "KEYCLOAK_AUDIENC is set, but no such variable is read: KEYCLOAK_AUDIENCE, perhaps?",
            ],
        ),
        (
            &[
                ("AUTH_PROVIDERS", "cognito"),
                ("COGNITO_USER_POOL_ID", "a/b_c"),
                ("COGNITO_AUDIENCE", "1"),
            ],
            &["COGNITO_USER_POOL_ID is \"a/b_c\", which has characters …"],
        ),
        (
            &[
                ("AUTH_PROVIDERS", "azure"),
                ("AZURE_ALLOW_MULTI_TENANT", "true"),
                ("AZURE_ALLOWED_TENANTS", "contoso"),
                ("AZURE_CLIENT_ID", GUID),
            ],
            &["AZURE_ALLOWED_TENANTS is \"contoso\", which is not an id: write …"],
        ),
        (
            &[("AUTH_PROVIDERS", "oidc"), ("OIDC_SCOPE_HIERARCHY", "a>b")],
            &[
                "OIDC_ISSUER is not set: …",
                "OIDC_AUDIENCE is not set: …",
                "OIDC_SCOPE_HIERARCHY is set, but no such variable is read: SCOPE_HIERARCHY is for all providers",
            ],
        ),
        (
            &[
                ("AUTH_PROVIDERS", "gcp"),
                ("GCP_PROJECT_ID", "company-app"),
                ("GCP_HOSTED_DOMAIN", "company.example"),
            ],
            &["GCP_HOSTED_DOMAIN is set, but is of no use without GCP_CLIENT_ID"],
        ),
    ];
    for (changes, expected) in cases {
        assert_says(&build(changes).unwrap_err(), expected);
    }
}

/// The lines of an error; `…` at the end of one stands for the rest.
fn assert_says(error: &SettingsError, expected: &[&str]) {
    let text = error.to_string();
    let lines: Vec<_> = text.lines().skip(1).map(str::trim).collect();
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, expected) in lines.into_iter().zip(expected) {
        match expected.strip_suffix('…') {
            Some(beginning) => assert!(line.starts_with(beginning), "{expected}\n{text}"),
            None => assert_eq!(line, *expected),
        }
    }
}

#[test]
fn mistakes_of_a_file_say_what_to_write_there() {
    let nested = "if these settings stand in a table of their own, read that table as `ResourceServerConfig`";
    let cases: [(&str, &[&str]); 11] = [
        (
            r#"{"auth_providers":"auth0","auth0":{"domain":"a.auth0.com"}}"#,
            &["AUTH0_AUDIENCE (auth0.audience in a file) is not set: expected the `aud` …"],
        ),
        (
            r#"{"auth_providers":"auth0","clock_leway":1}"#,
            &[
                "AUTH0_DOMAIN (auth0.domain in a file) is not set: …",
                "AUTH0_AUDIENCE (auth0.audience in a file) is not set: …",
                "no setting is called clock_leway: clock_leeway, perhaps?",
            ],
        ),
        (
            r#"{"clock_leeway":1}"#,
            &["AUTH_PROVIDERS (auth_providers in a file) is not set: …"],
        ),
        (
            r#"{"auth_providers":"auth0","auth0":{"domain":"a.auth0.com","audience":"api","audiences":"api","x":1}}"#,
            &[
                "no setting is called auth0.audiences: auth0.audience, perhaps?",
                "no setting is called auth0.x",
            ],
        ),
        (
            r#"{"auth_providers":["Azure-AD","oidc_Partners"],"entra":{"tenant_id":"common"}}"#,
            &[
                "AZURE_CLIENT_ID (entra.client_id in a file) is not set: …",
                "entra.tenant_id is \"common\": expected …",
                "OIDC_PARTNERS_ISSUER (oidc_partners.issuer in a file) is not set: …",
                "OIDC_PARTNERS_AUDIENCE (oidc_partners.audience in a file) is not set: …",
            ],
        ),
        (
            r#"{"auth_providers":"auth0","auth0":{"domain":"a.auth0.com","audience":true}}"#,
            &["auth0.audience is true: write a string, or a list of strings"],
        ),
        (
            r#"{"auth_providers":"auth0","auth0":{"domain":false,"audience":"a","admin_groups":true}}"#,
            &["auth0.domain is false: write a string"],
        ),
        (
            r#"{"auth_providers":"auth0","auth0":{"domain":"a.auth0.com","audience":1.5,"admin_groups":true}}"#,
            &[
                "auth0.audience is 1.5: write a string, or a list of strings",
                "auth0.admin_groups is true: write a string, or a list of strings",
            ],
        ),
        (
            r#"{"auth_providers":"auth0","auth0":{"domain":"a.auth0.com","audience":"a","token_header":"x","okta":null}}"#,
            &["no setting is called auth0.token_header: token_header is for all providers"],
        ),
        (
            r#"{"auth":{"auth_providers":["auth0"],"clock_leeway":1}}"#,
            &[
                "AUTH_PROVIDERS (auth_providers in a file) is not set: …",
                "there is no provider `auth`: if these settings stand in a table of their own, …",
            ],
        ),
        (
            r#"{"auth_providers":"auth0","auth0":{"domain":"a.auth0.com","audience":"a"},"kaycloak":{"url":"https://a.example","realm":"a"},"server":{"port":1}}"#,
            &[
                "there is no provider `kaycloak`: `keycloak`, perhaps?",
                "there is no provider `server`: if these settings stand in a table of their own, …",
            ],
        ),
    ];
    for (json, expected) in cases {
        let config: ResourceServerConfig = serde_json::from_str(json).unwrap();
        assert_says(&config.build().unwrap_err(), expected);
    }
    for (json, expected) in [
        (
            r#"{"auth":{"auth_providers":"auth0","auth0":{"audience":"a"}}}"#,
            &*format!("there is no provider `auth`: {nested}"),
        ),
        (
            r#"{"auth0":{"audience":["a",true]}}"#,
            "auth0.audience holds a boolean or a fraction: write a string, or a list of strings",
        ),
        (
            r#"{"auth0":{"audience":{"a":1}}}"#,
            "auth0.audience is a table: write a value, or a list",
        ),
    ] {
        let error = serde_json::from_str::<ResourceServerConfig>(json).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

/// Numbers are ids at times, and are written as such.
#[test]
fn integers_of_a_file_are_ids() {
    let json = r#"{"auth_providers":"github-actions","github-actions":{"owner_ids":[1,2],"audience":"api","dangerous_allow_plain_http":false,"max_token_age":60}}"#;
    let config: ResourceServerConfig = serde_json::from_str(json).unwrap();
    config.build().unwrap();
}

#[test]
fn names_of_providers_are_the_same_in_capitals() {
    let vars = [
        ("AUTH_PROVIDERS", "Auth0, OIDC_Partners"),
        ("AUTH0_DOMAIN", "company.eu.auth0.com"),
        ("AUTH0_AUDIENCE", "api"),
        ("OIDC_PARTNERS_ISSUER", "https://id.partner.example"),
        ("OIDC_PARTNERS_AUDIENCE", "api"),
    ];
    assert_eq!(from(&vars).unwrap().authorization_servers().len(), 2);
}

#[test]
fn authentication_is_asked_for_besides_other_claims() {
    let policy = build(&[
        ("OKTA_REQUIRED_CLAIMS", "acr=urn:x, department"),
        ("OKTA_REQUIRED_ACR", "urn:x,urn:y"),
        ("OKTA_REQUIRED_AMR", "mfa, hwk"),
    ])
    .unwrap();
    let server = &policy.authorization_servers()[0];
    let alone = AuthorizationServer::discover("https://a.example")
        .audience("a")
        .require_acr(["urn:x", "urn:y"])
        .require_amr(["mfa", "hwk"]);
    assert!(server.claim_rules.starts_with(&alone.claim_rules));
    assert_eq!(server.claim_rules.len(), 4);
}

#[test]
fn no_tenant_is_none_that_is_named() {
    let none = AuthorizationServer::entra_multi_tenant([]).audience("a");
    let error = ResourceServer::builder().trust(none).build().unwrap_err();
    assert_eq!(error, crate::ConfigError::NoTenant);
}

#[cfg(feature = "introspection")]
#[test]
fn what_introspection_lacks_is_said_at_once() {
    let url = ("OKTA_INTROSPECTION_URL", "https://company.okta.com/x");
    let expected = [
        "OKTA_INTROSPECTION_CLIENT_ID",
        "OKTA_INTROSPECTION_CLIENT_SECRET",
    ];
    assert_eq!(wrong(&[url]), expected);
    let placeholder = [
        url,
        ("OKTA_INTROSPECTION_CLIENT_ID", "your-client-id"),
        ("OKTA_INTROSPECTION_CLIENT_SECRET", "s3cret"),
    ];
    assert_eq!(wrong(&placeholder), ["OKTA_INTROSPECTION_CLIENT_ID"]);
}

#[cfg(not(feature = "introspection"))]
#[test]
fn what_needs_introspection_says_so() {
    let needs = "needs the feature `introspection` of portcullis, which is off";
    for setting in [
        "url",
        "client_id",
        "client_secret",
        "client_key_file",
        "for_jwts",
    ] {
        let in_file = format!("okta.introspection_{setting}");
        let variable = in_file.to_uppercase().replace('.', "_");
        let expected = format!("{variable} is set, but {needs}");
        assert_says(&build(&[(&variable, "s3cret")]).unwrap_err(), &[&expected]);

        let json = format!(
            r#"{{"auth_providers":"okta","okta":{{"org_domain":"a.okta.com","audience":"a","introspection_{setting}":"s3cret"}}}}"#
        );
        let config: ResourceServerConfig = serde_json::from_str(&json).unwrap();
        let expected = format!("{in_file} is set, but {needs}");
        assert_says(&config.build().unwrap_err(), &[&expected]);
    }
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
