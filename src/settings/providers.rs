//! The providers: what each is called, which settings it has, and what they make.

use super::{
    in_capitals,
    reader::{Reader, is_one_slip},
};
use crate::{
    algorithm::Algorithm,
    authorization_server::{AuthorizationServer, WithoutAudience},
    challenge::is_scope_token,
    claim::{ClaimPath, ClaimValue, ListClaim},
    error::ConfigError,
    issuer_template::is_guid,
    provider::okta,
    role::{Role, RoleMapping},
};

const PROVIDERS: &str = "AUTH_PROVIDERS";
/// Of the names of a provider, one.
const NAMES: &str = "`okta`, `auth0`, `azure-ad`, `cognito`, `gcp`, `google-iap`, `keycloak`, `pingone`, `zitadel`, `authentik`, `github-actions`, `kubernetes` and `oidc`";

/// A provider that is trusted.
pub(super) struct Provider {
    kind: &'static Kind,
    /// What its variables begin with.
    pub(super) prefix: String,
}

/// A product.
struct Kind {
    names: &'static [&'static str],
    prefix: &'static str,
    /// Its own settings, and what its preset calls them.
    settings: &'static [(&'static str, &'static str)],
    /// Whether who names its groups is who names those of the settings for all.
    shares_groups: bool,
    read: fn(&Provider, &mut Reader) -> Option<Vec<AuthorizationServer>>,
}

/// The settings that each provider has.
const COMMON: [&str; 15] = [
    "ALLOWED_CLIENTS",
    "GROUPS_CLAIM",
    "GROUPS_CLAIM_FORMAT",
    "GROUPS_FILTER",
    "ADMIN_GROUPS",
    "WRITE_GROUPS",
    "READ_ONLY_GROUPS",
    "REQUIRED_CLAIMS",
    "REQUIRED_ACR",
    "REQUIRED_AMR",
    "ALGORITHMS",
    "MAX_TOKEN_AGE",
    "ISSUER_ALIASES",
    "JWKS_URI",
    "JWKS_FILE",
];
/// Those of them that need the feature `introspection`; without it, to set one is a mistake.
const INTROSPECTION: [&str; 5] = [
    "INTROSPECTION_URL",
    "INTROSPECTION_CLIENT_ID",
    "INTROSPECTION_CLIENT_SECRET",
    "INTROSPECTION_CLIENT_KEY_FILE",
    "INTROSPECTION_FOR_JWTS",
];
const PLAIN_HTTP: &str = "DANGEROUS_ALLOW_PLAIN_HTTP";

/// In place of what is missing or wrong, which is a mistake: something to go on with, so that all
/// mistakes are found.
const MISSING: &str = "missing";

const AUDIENCE: &str = "AUDIENCE";
const AUDIENCE_EXPECTED: &str =
    "the `aud` of tokens for this API, such as `api://default`; several separated by commas";

static KINDS: [Kind; 13] = [
    Kind {
        names: &["okta"],
        prefix: "OKTA",
        settings: &[
            ("ORG_DOMAIN", "Okta domain"),
            (AUDIENCE, ""),
            ("AUTH_SERVER_ID", ""),
            ("ALLOW_ORG_SERVER", ""),
            ("CLIENT_ID", ""),
        ],
        shares_groups: true,
        read: read_okta,
    },
    Kind {
        names: &["auth0"],
        prefix: "AUTH0",
        settings: &[
            ("DOMAIN", "Auth0 domain"),
            ("TENANT", ""),
            (AUDIENCE, ""),
            ("GROUPS_NAMESPACE", ""),
        ],
        shares_groups: true,
        read: read_auth0,
    },
    Kind {
        names: &["azure-ad", "azure", "entra", "entra-id"],
        prefix: "AZURE",
        settings: &[
            ("TENANT_ID", ""),
            ("CLIENT_ID", ""),
            (AUDIENCE, ""),
            ("ALLOW_MULTI_TENANT", ""),
            ("ALLOWED_TENANTS", ""),
        ],
        shares_groups: true,
        read: read_azure,
    },
    Kind {
        names: &["cognito"],
        prefix: "COGNITO",
        settings: &[
            ("USER_POOL_ID", "Cognito user pool id"),
            ("REGION", "Cognito region"),
            (AUDIENCE, ""),
            ("TOKEN_USE", ""),
        ],
        shares_groups: true,
        read: read_cognito,
    },
    Kind {
        names: &["gcp", "google", "google-cloud"],
        prefix: "GCP",
        settings: &[
            ("CLIENT_ID", ""),
            ("HOSTED_DOMAIN", ""),
            ("PROJECT_ID", "Firebase project id"),
        ],
        shares_groups: false,
        read: read_gcp,
    },
    Kind {
        names: &["google-iap"],
        prefix: "GOOGLE_IAP",
        settings: &[(AUDIENCE, "")],
        shares_groups: false,
        read: |of, reader| {
            let audience = of.required_audience(reader);
            Some(vec![with_audiences(
                AuthorizationServer::google_iap(),
                audience,
            )])
        },
    },
    Kind {
        names: &["keycloak"],
        prefix: "KEYCLOAK",
        settings: &[
            ("URL", "Keycloak URL"),
            ("REALM", "Keycloak realm"),
            (AUDIENCE, ""),
            ("CLIENT_ID", ""),
        ],
        shares_groups: true,
        read: read_keycloak,
    },
    Kind {
        names: &["pingone"],
        prefix: "PINGONE",
        settings: &[
            ("DOMAIN", "PingOne domain"),
            ("ENVIRONMENT_ID", "PingOne environment id"),
            (AUDIENCE, ""),
        ],
        shares_groups: true,
        read: |of, reader| {
            let domain = of.required(reader, "DOMAIN", "the region's, such as `auth.pingone.eu`");
            let id = of.required(reader, "ENVIRONMENT_ID", "the environment's id, a GUID");
            let audience = of.required_audience(reader);
            let server = AuthorizationServer::pingone(&domain?, &id?);
            Some(vec![with_audiences(server, audience)])
        },
    },
    Kind {
        names: &["zitadel"],
        prefix: "ZITADEL",
        settings: &[
            ("DOMAIN", "Zitadel domain"),
            ("PROJECT_ID", ""),
            (AUDIENCE, ""),
        ],
        shares_groups: true,
        read: |of, reader| {
            let domain = of.required(reader, "DOMAIN", "the instance's domain");
            let expected = "the id of the API's project";
            let project = reader.required_id(&of.name("PROJECT_ID"), expected);
            let more = reader.ids(&of.name(AUDIENCE), AUDIENCE_EXPECTED);
            let server = AuthorizationServer::zitadel(&domain?, &project?);
            Some(vec![
                more.into_iter()
                    .flatten()
                    .fold(server, AuthorizationServer::audience),
            ])
        },
    },
    Kind {
        names: &["authentik"],
        prefix: "AUTHENTIK",
        settings: &[
            ("URL", "authentik URL"),
            ("APPLICATION", "authentik application"),
            (AUDIENCE, ""),
        ],
        shares_groups: true,
        read: |of, reader| {
            let url = of.required(
                reader,
                "URL",
                "where authentik is, such as `https://id.company.example`",
            );
            let application = of.required(reader, "APPLICATION", "the application's slug");
            let audience = of.required_audience(reader);
            let server = AuthorizationServer::authentik(&url?, &application?);
            Some(vec![with_audiences(server, audience)])
        },
    },
    Kind {
        names: &["github-actions"],
        prefix: "GITHUB_ACTIONS",
        settings: &[
            ("OWNER_IDS", "GitHub owner id"),
            ("HOST", "GitHub Enterprise Server host"),
            (AUDIENCE, ""),
        ],
        shares_groups: false,
        read: read_github,
    },
    Kind {
        names: &["kubernetes"],
        prefix: "KUBERNETES",
        settings: &[("ISSUER", ""), (AUDIENCE, "")],
        shares_groups: false,
        read: |of, reader| {
            let issuer = of.required(
                reader,
                "ISSUER",
                "what the API server's --service-account-issuer is",
            );
            let audience = of.required_audience(reader);
            let server = AuthorizationServer::kubernetes(&issuer?);
            Some(vec![with_audiences(server, audience)])
        },
    },
    Kind {
        names: &["oidc"],
        prefix: "OIDC",
        settings: &[("ISSUER", ""), (AUDIENCE, ""), ("JWKS_HOST", "")],
        shares_groups: true,
        read: |of, reader| {
            let issuer = of.required(
                reader,
                "ISSUER",
                "the exact `iss` of its tokens, an https URL",
            );
            let audience = of.required_audience(reader);
            let hosts = reader.list(&of.name("JWKS_HOST"), "hosts that keys may be on");
            let server = with_audiences(AuthorizationServer::discover(issuer?), audience);
            let hosts = hosts.into_iter().flatten();
            Some(vec![hosts.fold(server, AuthorizationServer::jwks_host)])
        },
    },
];

/// Who is trusted: as it is written, and what it means.
pub(super) fn listed(reader: &mut Reader) -> (String, Vec<Provider>) {
    let expected = format!("a comma-separated list of providers, of which there are {NAMES}");
    let Some(entries) = reader.required_list(PROVIDERS, &expected) else {
        return (String::new(), Vec::new());
    };
    let names = entries.iter().flat_map(|entry| separate(reader, entry));
    let names: Vec<_> = names.collect();
    let mut found: Vec<Provider> = Vec::new();
    let mut is_first = true;
    for name in names {
        let is_new = |of: &Provider| found.iter().all(|other| other.prefix != of.prefix);
        let provider = match find(name) {
            Ok(provider) if is_new(&provider) => Some((provider, name)),
            Ok(_) => {
                let expected = "each provider once; `oidc_partners` is a second `oidc`";
                reader.mistake(PROVIDERS, name, expected);
                None
            }
            Err(meant) => {
                no_such(reader, name, meant, is_first);
                is_first = false;
                // So that what is wrong with its settings is said at once, too.
                let provider = meant.and_then(|meant| Some((find(meant).ok()?, meant)));
                provider.filter(|(provider, _)| is_new(provider))
            }
        };
        if let Some((provider, table)) = provider {
            add_table(reader, &provider, table);
            found.push(provider);
        }
    }
    (entries.join(","), found)
}

/// The names of one entry, of which there should be one.
fn separate<'e>(reader: &mut Reader, entry: &'e str) -> Vec<&'e str> {
    let names = entry.split(|c: char| c.is_whitespace() || c == ';');
    let names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    if names.len() != 1 {
        reader.wrong(PROVIDERS, entry, ": separate them with commas");
    }
    names
}

/// A name that no provider has. Which there are is said once, with the first of them.
fn no_such(reader: &mut Reader, name: &str, meant: Option<&str>, is_first: bool) {
    let mut problem = ", which is no provider".to_owned();
    if let Some(meant) = meant {
        problem += &format!(": `{meant}`, perhaps?");
    }
    if is_first {
        let colon = if meant.is_some() { " There" } else { ": there" };
        problem += &format!("{colon} are {NAMES}");
    }
    reader.wrong(PROVIDERS, name, &problem);
}

/// Remembers what the provider's table is called in a file: as it is there, or else like this.
fn add_table(reader: &mut Reader, provider: &Provider, otherwise: &str) {
    let is_its_own = |table: &&str| prefix(table) == provider.prefix;
    let table = reader.tables_of_file().find(is_its_own).map(str::to_owned);
    let table = table.unwrap_or_else(|| otherwise.to_ascii_lowercase());
    reader.add_table(provider.prefix.clone(), table);
}

/// The provider of this name, in any case, which may be one of several of its kind; or the name that was
/// probably meant.
fn find(name: &str) -> Result<Provider, Option<&'static str>> {
    let (product, suffix) = match name.split_once('_') {
        Some((product, suffix)) => (product, Some(suffix)),
        None => (name, None),
    };
    let lower = product.to_ascii_lowercase();
    let kind = KINDS.iter().find(|kind| kind.names.contains(&&*lower));
    let is_suffix = |suffix: &str| {
        !suffix.is_empty()
            && suffix
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    match (kind, suffix) {
        (Some(kind), None) => Ok(Provider {
            kind,
            prefix: kind.prefix.to_owned(),
        }),
        (Some(kind), Some(suffix)) if is_suffix(suffix) => Ok(Provider {
            kind,
            prefix: format!("{}_{}", kind.prefix, in_capitals(suffix)),
        }),
        (Some(kind), Some(_)) => Err(kind.names.first().copied()),
        (None, _) => {
            let mut names = KINDS.iter().flat_map(|kind| kind.names);
            let meant = names.find(|known| {
                is_one_slip(known, &lower)
                    || lower.starts_with(**known)
                    || known.starts_with(&lower)
            });
            Err(meant.copied().filter(|_| lower.len() > 2))
        }
    }
}

/// Whether a provider has this name.
pub(super) fn is_one(name: &str) -> bool {
    find(name).is_ok()
}

/// What is wrong with a table of this name. `is_around` if all the settings may be in it.
pub(super) fn no_provider(table: &str, is_around: bool) -> String {
    let advice = match find(table) {
        Err(Some(meant)) if !is_around => format!("`{meant}`, perhaps?"),
        _ => "if these settings stand in a table of their own, read that table as `ResourceServerConfig`".to_owned(),
    };
    format!("there is no provider `{table}`: {advice}")
}

/// What the variables of this table of a file begin with.
pub(super) fn prefix(table: &str) -> String {
    match find(table) {
        Ok(provider) => provider.prefix,
        Err(_) => in_capitals(table),
    }
}

impl Provider {
    /// The variable of one of its settings.
    fn name(&self, setting: &str) -> String {
        format!("{}_{setting}", self.prefix)
    }

    /// The variables of all of its settings.
    pub(super) fn settings(&self) -> impl Iterator<Item = String> {
        let own = self.kind.settings.iter().map(|(setting, _)| *setting);
        let all = own.chain(COMMON).chain(INTROSPECTION).chain([PLAIN_HTTP]);
        all.map(|setting| self.name(setting))
    }

    pub(super) fn needs_token_header(&self) -> bool {
        self.kind.prefix == "GOOGLE_IAP"
    }

    /// Its authorization servers; mistakes are with the reader.
    pub(super) fn servers(&self, reader: &mut Reader) -> Vec<AuthorizationServer> {
        let servers = (self.kind.read)(self, reader);
        let changes = self.changes(reader);
        let servers = servers.unwrap_or_default();
        let is_one = servers.len() == 1;
        for (setting, is_set) in [
            ("ISSUER_ALIASES", !changes.aliases.is_empty()),
            ("JWKS_URI", changes.jwks_uri.is_some()),
            ("JWKS_FILE", changes.jwks_file.is_some()),
            (
                "INTROSPECTION_URL",
                cfg!(feature = "introspection") && reader.is_set(&self.name("INTROSPECTION_URL")),
            ),
        ] {
            if is_set && servers.len() > 1 {
                let problem = "cannot be with several authorization servers";
                reader.set_but(&self.name(setting), problem);
            }
        }
        let mut sound = Vec::new();
        for server in servers {
            let server = changes.apply(self, reader, server, is_one);
            match server.check() {
                Ok(()) => sound.push(server),
                Err(error) => self.blame(reader, &error),
            }
        }
        sound
    }

    /// Finds out which setting a mistake is about.
    fn blame(&self, reader: &mut Reader, error: &ConfigError) {
        let own = || self.kind.settings.iter();
        let is_set = |setting: &str| reader.is_set(&self.name(setting));
        let first = own().find(|(setting, _)| is_set(setting));
        let first = first.or(own().next());
        let first = first.map_or(AUDIENCE, |(setting, _)| *setting);
        let or = |setting: &'static str, other| {
            if is_set(setting) { setting } else { other }
        };
        let setting = match error {
            ConfigError::InvalidSetting { setting, .. } if setting.starts_with("introspection") => {
                "INTROSPECTION_URL"
            }
            ConfigError::InvalidSetting { setting, .. } => {
                let setting = own().find(|(_, called)| called == setting);
                setting.map_or(first, |(setting, _)| or(setting, first))
            }
            ConfigError::InvalidAuthorizationServerId { .. } => "AUTH_SERVER_ID",
            ConfigError::InvalidTenant { .. } | ConfigError::NoTenant => {
                or("ALLOWED_TENANTS", "TENANT_ID")
            }
            ConfigError::InvalidJwksUri { .. } => or("JWKS_URI", first),
            ConfigError::InvalidIssuer { .. } => or("ISSUER_ALIASES", first),
            ConfigError::InvalidAlgorithms { .. } => "ALGORITHMS",
            ConfigError::InvalidClaim { setting, .. } => match *setting {
                "groups claim" => "GROUPS_CLAIM",
                "group filter" => "GROUPS_FILTER",
                "required acr" => "REQUIRED_ACR",
                _ => "REQUIRED_CLAIMS",
            },
            _ => first,
        };
        let advice = error.to_string();
        // What it is called, and what it says, is in front of it already.
        let advice = match advice.split_once("\" ") {
            Some((_, advice)) => format!(", which {advice}"),
            None => format!(": {advice}"),
        };
        let name = self.name(setting);
        let found = reader.shown(&name);
        reader.wrong(&name, &found, &advice);
    }

    fn required(&self, reader: &mut Reader, setting: &str, expected: &str) -> Option<String> {
        reader.required(&self.name(setting), expected)
    }

    fn required_audience(&self, reader: &mut Reader) -> Vec<String> {
        let audiences = reader.required_ids(&self.name(AUDIENCE), AUDIENCE_EXPECTED);
        audiences.unwrap_or_else(|| vec![MISSING.to_owned()])
    }

    /// Two settings of which one does not go with the other.
    fn contradiction(&self, reader: &mut Reader, setting: &str, other: &str) {
        let other = reader.called(&self.name(other));
        reader.set_but(&self.name(setting), format!("{other} says otherwise"));
    }
}

/// There is at least one: lists of settings are not empty.
fn with_audiences(server: WithoutAudience, audiences: Vec<String>) -> AuthorizationServer {
    let mut audiences = audiences.into_iter();
    let first = server.audience(audiences.next().unwrap_or_default());
    audiences.fold(first, AuthorizationServer::audience)
}

fn read_okta(of: &Provider, reader: &mut Reader) -> Option<Vec<AuthorizationServer>> {
    let domain = of.required(
        reader,
        "ORG_DOMAIN",
        "the domain of the Okta org, such as `company.okta.com`",
    );
    let audience = of.required_audience(reader);
    let ids = reader.list_of(
        &of.name("AUTH_SERVER_ID"),
        "ids of custom authorization servers, comma-separated, each once, such as `default` or `aus9o8wzkhckw9TLa0h7z`",
        okta::is_id,
    );
    let ids = ids.unwrap_or_else(|| vec!["default".to_owned()]);
    let with_org_server = reader.boolean(&of.name("ALLOW_ORG_SERVER"));
    let client_id = of.name("CLIENT_ID");
    let client_id = if with_org_server {
        let expected = "the client id that tokens of the org authorization server are for";
        reader.required_id(&client_id, expected)
    } else {
        reader.id(&client_id, "a client id, or no such setting")
    };
    let (domain, audience) = (domain?, audience);
    let custom = ids.into_iter().map(|id| {
        let server = AuthorizationServer::okta_custom(&domain, &id);
        with_audiences(server, audience.clone())
    });
    let org = client_id
        .filter(|_| with_org_server)
        .map(|client_id| AuthorizationServer::okta_org(&domain).audience(client_id));
    let mut servers: Vec<_> = custom.chain(org).collect();
    // The mistake of a domain is one, for however many servers.
    if servers.iter().all(|server| server.keys.is_err()) {
        servers.truncate(1);
    }
    Some(servers)
}

fn read_auth0(of: &Provider, reader: &mut Reader) -> Option<Vec<AuthorizationServer>> {
    let (domain, tenant) = (of.name("DOMAIN"), of.name("TENANT"));
    let domain = if reader.is_set(&tenant) {
        if reader.is_set(&domain) {
            of.contradiction(reader, "TENANT", "DOMAIN");
            return None;
        }
        let tenant = reader.text(&tenant, "the part of the domain before `.auth0.com`")?;
        if tenant.ends_with(".auth0.com") {
            Some(tenant)
        } else {
            Some(format!("{tenant}.auth0.com"))
        }
    } else {
        reader.required(
            &domain,
            "the tenant's domain, such as `company.eu.auth0.com`",
        )
    };
    let namespace = reader.text(
        &of.name("GROUPS_NAMESPACE"),
        "what the claim with the groups begins with, such as `https://company.example`",
    );
    let audience = of.required_audience(reader);
    let server = with_audiences(AuthorizationServer::auth0(&domain?), audience);
    Some(vec![match namespace {
        None => server,
        Some(_) if reader.is_set(&of.name("GROUPS_CLAIM")) => {
            of.contradiction(reader, "GROUPS_NAMESPACE", "GROUPS_CLAIM");
            return None;
        }
        Some(namespace) => {
            let claim = format!("{}/groups", namespace.trim_end_matches('/'));
            server.groups_claim(ClaimPath::nested([claim]))
        }
    }])
}

fn read_azure(of: &Provider, reader: &mut Reader) -> Option<Vec<AuthorizationServer>> {
    const MANY: [&str; 3] = ["common", "organizations", "consumers"];
    let (tenant_id, allowed) = (of.name("TENANT_ID"), of.name("ALLOWED_TENANTS"));
    let expected = "the id of the directory (tenant), a GUID; for several, AZURE_ALLOW_MULTI_TENANT=true and AZURE_ALLOWED_TENANTS";
    let client_id = azure_client_id(of, reader);
    let more = reader.ids(&of.name(AUDIENCE), AUDIENCE_EXPECTED);
    let server = if reader.boolean(&of.name("ALLOW_MULTI_TENANT")) {
        let tenant = reader.text(&tenant_id, expected);
        let tenant = tenant.filter(|tenant| !MANY.contains(&&**tenant));
        let expected =
            "the ids of the tenants that are trusted, comma-separated, or `*` for any there is";
        let allowed = reader.required_list(&allowed, expected)?;
        if allowed == ["*"] {
            AuthorizationServer::dangerous_entra_any_tenant()
        } else {
            let all = allowed.iter().chain(&tenant);
            AuthorizationServer::entra_multi_tenant(all.map(String::as_str))
        }
    } else {
        if reader.is_set(&allowed) {
            of.contradiction(reader, "ALLOWED_TENANTS", "ALLOW_MULTI_TENANT");
        }
        let tenant = reader.required(&tenant_id, expected)?;
        if MANY.contains(&&*tenant) {
            reader.mistake(&tenant_id, tenant, expected);
            return None;
        }
        AuthorizationServer::entra(&tenant)
    };
    let client_id = client_id.unwrap_or_else(|| MISSING.to_owned());
    let app_id_uri = format!("api://{client_id}");
    let audiences = [client_id, app_id_uri].into_iter();
    let audiences = audiences.chain(more.into_iter().flatten()).collect();
    Some(vec![with_audiences(server, audiences)])
}

fn azure_client_id(of: &Provider, reader: &mut Reader) -> Option<String> {
    let expected = "the client id of the API's registration, a GUID";
    let name = of.name("CLIENT_ID");
    let client_id = reader.required_id(&name, expected)?;
    if is_guid(&client_id) {
        return Some(client_id);
    }
    reader.mistake(&name, client_id, expected);
    None
}

fn read_cognito(of: &Provider, reader: &mut Reader) -> Option<Vec<AuthorizationServer>> {
    let expected = "the id of the user pool, such as `eu-west-1_a1B2c3D4e`";
    let pool = of.required(reader, "USER_POOL_ID", expected);
    let region = reader.text(&of.name("REGION"), "the region of the user pool");
    let expected = "the ids of the app clients whose tokens are accepted, comma-separated";
    let audience = reader.required_ids(&of.name(AUDIENCE), expected);
    let audience = audience.unwrap_or_else(|| vec![MISSING.to_owned()]);
    let token_use = of.name("TOKEN_USE");
    let kind = reader.text(&token_use, "`access` or `id`");
    let pool = pool?;
    let region = region
        .or_else(|| Some(pool.split_once('_')?.0.to_owned()))
        .unwrap_or_default();
    let server = match kind.as_deref() {
        None | Some("access") => AuthorizationServer::cognito(&region, &pool),
        Some("id") => AuthorizationServer::cognito_id_tokens(&region, &pool),
        Some(other) => {
            reader.mistake(&token_use, other, "`access` or `id`");
            return None;
        }
    };
    Some(vec![with_audiences(server, audience)])
}

fn read_gcp(of: &Provider, reader: &mut Reader) -> Option<Vec<AuthorizationServer>> {
    let (client_id, project_id) = (of.name("CLIENT_ID"), of.name("PROJECT_ID"));
    let expected = "OAuth client ids, comma-separated, such as `1234.apps.googleusercontent.com`";
    let clients = if reader.is_set(&project_id) {
        reader.ids(&client_id, expected)
    } else {
        reader.required_ids(&client_id, expected)
    };
    let domains = of.name("HOSTED_DOMAIN");
    if !reader.is_set(&client_id) && reader.is_set(&domains) {
        // Firebase does not know of it, so that it would restrict nobody.
        let client_id = reader.called(&client_id);
        reader.set_but(&domains, format!("is of no use without {client_id}"));
    }
    let domains = reader.list(&domains, "domains of Google Workspace, comma-separated");
    let project = reader.id(&project_id, "the id of a Firebase project");
    let google = clients.map(|clients| {
        let server = with_audiences(AuthorizationServer::google_id_tokens(), clients);
        match domains {
            Some(domains) => server.require_claim_value("hd", domains),
            None => server,
        }
    });
    let firebase = project.map(|project| AuthorizationServer::firebase(&project));
    Some(google.into_iter().chain(firebase).collect())
}

fn read_keycloak(of: &Provider, reader: &mut Reader) -> Option<Vec<AuthorizationServer>> {
    let expected = "where Keycloak is, such as `https://id.company.example`";
    let url = of.required(reader, "URL", expected);
    let realm = of.required(reader, "REALM", "the realm's name");
    let audience = of.required_audience(reader);
    let client_id = reader.id(&of.name("CLIENT_ID"), "the client whose roles count");
    let server = AuthorizationServer::keycloak(&url?, realm.as_deref().unwrap_or(MISSING));
    let server = with_audiences(server, audience);
    Some(vec![match client_id {
        Some(client) => {
            server.also_groups_claim(ClaimPath::nested(["resource_access", &client, "roles"]))
        }
        None => server,
    }])
}

fn read_github(of: &Provider, reader: &mut Reader) -> Option<Vec<AuthorizationServer>> {
    let audience = of.required_audience(reader);
    let host = of.name("HOST");
    let server = if reader.is_set(&host) {
        let host = reader.text(&host, "the domain of a GitHub Enterprise Server")?;
        let owners = of.name("OWNER_IDS");
        let owners = reader.list(&owners, "the ids of the owners whose repositories may call");
        let server = AuthorizationServer::github_actions_enterprise(&host);
        server.with(|server| match owners {
            Some(owners) => server.require_claim_value("repository_owner_id", owners),
            None => server,
        })
    } else {
        let expected =
            "the ids of the owners whose repositories may call, numbers, comma-separated";
        let owners = reader.required_list(&of.name("OWNER_IDS"), expected)?;
        AuthorizationServer::github_actions(owners)
    };
    Some(vec![with_audiences(server, audience)])
}

/// What the settings that each provider has change.
struct Changes {
    allowed_clients: Option<Vec<String>>,
    groups_claims: Option<Vec<ListClaim>>,
    group_filter: Option<Vec<String>>,
    required_claims: Vec<(String, Vec<ClaimValue>)>,
    required_acr: Option<Vec<String>>,
    required_amr: Option<Vec<String>>,
    algorithms: Option<Vec<Algorithm>>,
    max_token_age: Option<u64>,
    aliases: Vec<String>,
    jwks_uri: Option<String>,
    jwks_file: Option<String>,
    #[cfg(feature = "introspection")]
    introspection: Option<crate::Introspection>,
    plain_http: bool,
}

impl Provider {
    fn changes(&self, reader: &mut Reader) -> Changes {
        let jwks_uri = reader.text(&self.name("JWKS_URI"), "the URL of a key set");
        let jwks_file = reader.text(&self.name("JWKS_FILE"), "the path of a file with a key set");
        if jwks_uri.is_some() && jwks_file.is_some() {
            self.contradiction(reader, "JWKS_FILE", "JWKS_URI");
        }
        #[cfg(not(feature = "introspection"))]
        self.refuse_introspection(reader);
        Changes {
            allowed_clients: reader
                .ids(&self.name("ALLOWED_CLIENTS"), "client ids, comma-separated"),
            groups_claims: self.groups_claims(reader),
            group_filter: reader.list(
                &self.name("GROUPS_FILTER"),
                "names of groups, or the beginning of names with `*` behind, comma-separated",
            ),
            required_claims: self.required_claims(reader),
            required_acr: reader.list_of(
                &self.name("REQUIRED_ACR"),
                "authentication contexts, each without spaces or quotes, comma-separated, each once",
                is_scope_token,
            ),
            required_amr: reader.list_of(
                &self.name("REQUIRED_AMR"),
                "authentication methods, comma-separated, each once, such as `mfa`",
                |_| true,
            ),
            algorithms: self.algorithms(reader),
            max_token_age: reader.number_in(&self.name("MAX_TOKEN_AGE"), 1, 31_536_000),
            aliases: reader
                .list(&self.name("ISSUER_ALIASES"), "issuers, comma-separated")
                .unwrap_or_default(),
            jwks_uri,
            jwks_file,
            #[cfg(feature = "introspection")]
            introspection: self.introspection(reader),
            plain_http: reader.boolean(&self.name(PLAIN_HTTP)),
        }
    }

    #[cfg(feature = "introspection")]
    fn introspection(&self, reader: &mut Reader) -> Option<crate::Introspection> {
        let [url, id, secret, key_file, for_jwts] = INTROSPECTION.map(|setting| self.name(setting));
        if !reader.is_set(&url) {
            for other in [id, secret, key_file, for_jwts] {
                if reader.is_set(&other) {
                    let url = reader.called(&url);
                    reader.set_but(&other, format!("is of no use without {url}"));
                }
            }
            return None;
        }
        let endpoint = reader.text(&url, "the URL of the introspection endpoint");
        let id = reader.required_id(&id, "the id of a client that may introspect tokens");
        let id = id.unwrap_or_else(|| MISSING.to_owned());
        let is_for_jwts = reader.boolean(&for_jwts);
        let client = self.introspection_client(reader, &secret, &key_file, id)?;
        let introspection = crate::Introspection::new(&endpoint?, client);
        Some(if is_for_jwts {
            introspection.also_for_jwts()
        } else {
            introspection
        })
    }

    #[cfg(not(feature = "introspection"))]
    fn refuse_introspection(&self, reader: &mut Reader) {
        for name in INTROSPECTION.map(|setting| self.name(setting)) {
            if reader.is_set(&name) {
                let problem = "needs the feature `introspection` of portcullis, which is off";
                reader.set_but(&name, problem);
            }
        }
    }

    #[cfg(feature = "introspection")]
    fn introspection_client(
        &self,
        reader: &mut Reader,
        secret: &str,
        key_file: &str,
        id: String,
    ) -> Option<crate::ClientAuthentication> {
        #[cfg(not(feature = "aws_lc_rs"))]
        if reader.is_set(key_file) {
            let problem = "needs the feature `aws_lc_rs` of portcullis, which is off";
            reader.set_but(key_file, problem);
            return None;
        }
        #[cfg(feature = "aws_lc_rs")]
        if reader.is_set(key_file) {
            if reader.is_set(secret) {
                reader.set_but(key_file, "the client has a secret: one of them is enough");
                return None;
            }
            let expected =
                "the path of the client's key, an RSA, P-256 or Ed25519 key as PKCS #8 in PEM";
            let path = reader.text(key_file, expected)?;
            let pem = std::fs::read_to_string(&path).ok();
            let client =
                pem.and_then(|pem| crate::ClientAuthentication::private_key_jwt(id, &pem).ok());
            if client.is_none() {
                reader.mistake(key_file, path, expected);
            }
            return client;
        }
        let expected = format!("the client's secret, or {}", reader.called(key_file));
        let secret = reader.required_secret(secret, &expected)?;
        Some(crate::ClientAuthentication::basic(id, secret))
    }

    fn groups_claims(&self, reader: &mut Reader) -> Option<Vec<ListClaim>> {
        const EXPECTED: &str = "`strings`, `string`, `spaces`, `commas` or `keys`";
        let format = self.name("GROUPS_CLAIM_FORMAT");
        let found = reader.text(&format, EXPECTED);
        let make: fn(ClaimPath) -> ListClaim = match found.as_deref() {
            None | Some("strings") => ListClaim::strings,
            Some("string") => ListClaim::string,
            Some("spaces") => ListClaim::space_separated,
            Some("commas") => ListClaim::comma_separated,
            Some("keys") => ListClaim::object_keys,
            Some(other) => {
                reader.mistake(&format, other, EXPECTED);
                ListClaim::strings
            }
        };
        let claims = self.name("GROUPS_CLAIM");
        if found.is_some() && !reader.is_set(&claims) {
            let claims = reader.called(&claims);
            reader.set_but(&format, format!("is of no use without {claims}"));
        }
        let claims = reader.list(
            &claims,
            "names of claims, or JSON pointers, comma-separated",
        )?;
        let claims = claims.into_iter().map(|claim| make(claim.into()));
        Some(claims.collect())
    }

    fn required_claims(&self, reader: &mut Reader) -> Vec<(String, Vec<ClaimValue>)> {
        const EXPECTED: &str = "`claim=value` or `claim`, comma-separated";
        let name = self.name("REQUIRED_CLAIMS");
        let mut rules: Vec<(String, Vec<ClaimValue>)> = Vec::new();
        for rule in reader.list(&name, EXPECTED).unwrap_or_default() {
            let (claim, value) = match rule.split_once('=') {
                Some((claim, value)) => (claim.trim(), Some(value.trim())),
                None => (&*rule, None),
            };
            if claim.is_empty() || value == Some("") {
                reader.mistake(&name, &*rule, EXPECTED);
                continue;
            }
            let values = value.map(values_of).unwrap_or_default();
            match rules.iter_mut().find(|(other, _)| other == claim) {
                Some((_, others)) => others.extend(values),
                None => rules.push((claim.to_owned(), values)),
            }
        }
        rules
    }

    fn algorithms(&self, reader: &mut Reader) -> Option<Vec<Algorithm>> {
        let name = self.name("ALGORITHMS");
        let expected = "signature algorithms, comma-separated, such as `RS256`";
        let names = reader.list_of(&name, expected, |name| name.parse::<Algorithm>().is_ok())?;
        Some(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Which groups grant which role; the provider's own come in place of those for all.
    fn roles(&self, reader: &mut Reader, server: &AuthorizationServer) -> RoleMapping {
        let is_anybodys = |tenants: &crate::issuer_template::Tenants| tenants.allowed.is_none();
        let shares = self.kind.shares_groups && !server.tenants.as_ref().is_some_and(is_anybodys);
        let mut roles = RoleMapping::new();
        for (role, setting) in [
            (Role::Admin, "ADMIN_GROUPS"),
            (Role::Write, "WRITE_GROUPS"),
            (Role::Read, "READ_ONLY_GROUPS"),
        ] {
            let own = reader.groups(&self.name(setting));
            let for_all = || if shares { reader.groups(setting) } else { None };
            roles = roles.grant(role, own.or_else(for_all).unwrap_or_default());
        }
        roles
    }
}

/// What a value that is written without quotes may mean.
fn values_of(text: &str) -> Vec<ClaimValue> {
    let mut values = vec![ClaimValue::from(text)];
    values.extend(text.parse().ok().map(ClaimValue::Bool));
    values.extend(text.parse().ok().map(ClaimValue::Integer));
    values
}

impl Changes {
    fn apply(
        &self,
        of: &Provider,
        reader: &mut Reader,
        server: AuthorizationServer,
        is_one: bool,
    ) -> AuthorizationServer {
        let roles = of.roles(reader, &server);
        let mut server = server.roles(roles);
        if let Some(clients) = &self.allowed_clients {
            server = server.allowed_clients(clients.clone());
        }
        if let Some(claims) = &self.groups_claims {
            server = server.groups_claims(claims.clone());
        }
        if let Some(patterns) = &self.group_filter {
            server = server.group_filter(patterns.clone());
        }
        // First, since it takes out what is asked of this claim otherwise.
        if let Some(values) = &self.required_acr {
            server = server.require_acr(values.clone());
        }
        if let Some(values) = &self.required_amr {
            server = server.require_amr(values.clone());
        }
        for (claim, values) in &self.required_claims {
            server = if values.is_empty() {
                server.require_claim(claim.as_str())
            } else {
                server.require_claim_value(claim.as_str(), values.clone())
            };
        }
        if let Some(algorithms) = &self.algorithms {
            server = server.algorithms(algorithms.clone());
        }
        if let Some(seconds) = self.max_token_age {
            server = server.max_token_age(std::time::Duration::from_secs(seconds));
        }
        if is_one {
            let aliases = self.aliases.iter().cloned();
            server = aliases.fold(server, AuthorizationServer::issuer_alias);
            if let Some(jwks_uri) = &self.jwks_uri {
                server = server.jwks_uri(jwks_uri);
            }
            if let Some(path) = &self.jwks_file {
                server = server.jwks_file(path);
            }
        }
        #[cfg(feature = "introspection")]
        if is_one && let Some(introspection) = &self.introspection {
            server = server.introspection(introspection.clone());
        }
        if self.plain_http {
            server = server.dangerous_allow_plain_http();
        }
        server
    }
}
