//! A policy from the environment, or from a file.

use std::{collections::BTreeMap, collections::HashMap, ffi::OsString, fmt};

use serde::Deserialize;

use crate::resource_server::ResourceServer;

mod placeholder;
mod providers;
mod reader;
mod unread;

use providers::Provider;
use reader::Reader;

/// # From the environment
impl ResourceServer {
    /// The policy that the environment describes: see [`ResourceServerConfig`] for its variables.
    ///
    /// # Errors
    ///
    /// Every mistake at once, each with the variable, what was found and what is expected. A
    /// variable that is one slip away from one that would be read, such as `OKTA_ALLOWED_CLIENT`, is a
    /// mistake too, and so is a provider's prefix before one for all, `OKTA_CLOCK_LEEWAY`; others are none
    /// of its business.
    pub fn from_env() -> Result<Self, SettingsError> {
        ResourceServerConfig::default().with_env().build()
    }

    /// The policy that these variables describe, in the way of [`from_env`](Self::from_env).
    ///
    /// ```
    /// use portcullis::ResourceServer;
    ///
    /// let error = ResourceServer::from_vars([
    ///     ("AUTH_PROVIDERS", "okta"),
    ///     ("OKTA_ORG_DOMAIN", "company-admin.okta.com"),
    /// ])
    /// .unwrap_err();
    /// let settings: Vec<_> = error.mistakes().iter().map(|mistake| &*mistake.setting).collect();
    /// assert_eq!(settings, ["OKTA_AUDIENCE", "OKTA_ORG_DOMAIN"]);
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`from_env`](Self::from_env).
    pub fn from_vars<N: Into<OsString>, V: Into<OsString>>(
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, SettingsError> {
        ResourceServerConfig::default().with_vars(vars).build()
    }
}

/// A policy in the form of settings: from environment variables, from a file in TOML, JSON, YAML or
/// whatever else [serde](https://serde.rs) reads, or from both, of which the environment wins.
///
/// A variable is the setting in capitals, with its provider in front: `OKTA_AUDIENCE` is `audience` in
/// the table `okta`. Lists are written as such in a file, and with commas in a variable.
///
/// ```
/// use portcullis::ResourceServerConfig;
///
/// #[derive(serde::Deserialize)]
/// struct Settings {
///     port: u16,
///     auth: ResourceServerConfig,
/// }
///
/// let settings: Settings = serde_json::from_str(r#"{
///     "port": 8080,
///     "auth": {
///         "auth_providers": ["okta", "auth0"],
///         "admin_groups": ["Admins"],
///         "okta": { "org_domain": "company.okta.com", "audience": "api://orders" },
///         "auth0": { "domain": "company.eu.auth0.com", "audience": "api://orders", "admin_groups": [] }
///     }
/// }"#)?;
/// let resource_server = settings.auth.with_env().build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # For all providers
///
/// | variable | meaning | default |
/// |---|---|---|
/// | `AUTH_PROVIDERS` | who is trusted, comma-separated: the names below, in any case. `oidc_partners` is a second `oidc`, with its own variables `OIDC_PARTNERS_…`, and so for each | required |
/// | `ADMIN_GROUPS`, `WRITE_GROUPS`, `READ_ONLY_GROUPS` | groups that grant `admin`, `write`, `read`, comma-separated; names are trimmed, empty ones left out. Not for `github-actions`, `kubernetes`, `gcp`, or any tenant of `azure-ad`, whose groups are not yours to name: they have [their own](#for-each-provider). Of everybody else they count, so that a partner who is trusted (`oidc_partners`) needs its own as well, and be it an empty one: whoever names a group `Admins` there is an admin here | none |
/// | `SCOPE_HIERARCHY` | [which scopes include which](crate::ScopeHierarchy): `admin:system>write:data>read:data`, several separated by commas | none |
/// | `CLOCK_LEEWAY` | leeway for `exp`, `nbf` and `iat` in seconds, 0 to 300 | `60` |
/// | `TOKEN_HEADER` | the [header that tokens are in](crate::ResourceServerBuilder::token_header), if it is not `Authorization` | |
/// | `JWKS_CACHE_TTL` | longest life of cached keys in seconds, 1 to 86400 | `3600` |
/// | `JWKS_MAX_KEYS` | most keys of one authorization server, 1 to 1000 | `100` |
/// | `TOKEN_CACHE_MAX_ENTRIES` | most [verified tokens](crate::TokenCachePolicy) that are remembered, up to 16777216; `0` remembers none | `16384` |
/// | `TOKEN_CACHE_MAX_BYTES` | most bytes that they take, from 65536 on; `0` remembers none | `16777216` |
///
/// # Providers
///
/// | provider | variables of its own | preset |
/// |---|---|---|
/// | `okta` | `OKTA_ORG_DOMAIN` a domain or an origin; `OKTA_AUTH_SERVER_ID` custom authorization servers, comma-separated, by default `default`; `OKTA_ALLOW_ORG_SERVER=true` also trusts the org authorization server, with `OKTA_CLIENT_ID` as audience | [`okta_custom`](crate::AuthorizationServer::okta_custom), [`okta_org`](crate::AuthorizationServer::okta_org) |
/// | `auth0` | `AUTH0_DOMAIN` (or `AUTH0_TENANT`, the part before `.auth0.com`); `AUTH0_GROUPS_NAMESPACE`: groups are in the claim `{namespace}/groups` | [`auth0`](crate::AuthorizationServer::auth0) |
/// | `azure-ad`, `azure`, `entra`, `entra-id` | `AZURE_TENANT_ID`; `AZURE_CLIENT_ID`, the API's, a GUID: it and `api://{client id}` are audiences, `AZURE_AUDIENCE` adds others; `AZURE_ALLOW_MULTI_TENANT=true` with `AZURE_ALLOWED_TENANTS` in place of one tenant, `*` for any | [`entra`](crate::AuthorizationServer::entra), [`entra_multi_tenant`](crate::AuthorizationServer::entra_multi_tenant) |
/// | `cognito` | `COGNITO_USER_POOL_ID`; `COGNITO_REGION`, by default the pool's; `COGNITO_AUDIENCE` ids of app clients; `COGNITO_TOKEN_USE` `access` or `id`, by default `access` | [`cognito`](crate::AuthorizationServer::cognito), [`cognito_id_tokens`](crate::AuthorizationServer::cognito_id_tokens) |
/// | `gcp`, `google`, `google-cloud` | `GCP_CLIENT_ID`: Google's ID tokens for these clients; `GCP_HOSTED_DOMAIN`: of these domains alone; `GCP_PROJECT_ID`: the tokens of this Firebase project | [`google_id_tokens`](crate::AuthorizationServer::google_id_tokens), [`firebase`](crate::AuthorizationServer::firebase) |
/// | `google-iap` | none but `GOOGLE_IAP_AUDIENCE`; `TOKEN_HEADER` must be set | [`google_iap`](crate::AuthorizationServer::google_iap) |
/// | `keycloak` | `KEYCLOAK_URL`, what is in front of `/realms/…`; `KEYCLOAK_REALM`; `KEYCLOAK_CLIENT_ID`: its client's roles are groups too | [`keycloak`](crate::AuthorizationServer::keycloak) |
/// | `pingone` | `PINGONE_DOMAIN`, `PINGONE_ENVIRONMENT_ID` | [`pingone`](crate::AuthorizationServer::pingone) |
/// | `zitadel` | `ZITADEL_DOMAIN`, `ZITADEL_PROJECT_ID`, which is the audience | [`zitadel`](crate::AuthorizationServer::zitadel) |
/// | `authentik` | `AUTHENTIK_URL`, `AUTHENTIK_APPLICATION` | [`authentik`](crate::AuthorizationServer::authentik) |
/// | `github-actions` | `GITHUB_ACTIONS_OWNER_IDS`, numbers; or `GITHUB_ACTIONS_HOST` of an Enterprise Server | [`github_actions`](crate::AuthorizationServer::github_actions) |
/// | `kubernetes` | `KUBERNETES_ISSUER` | [`kubernetes`](crate::AuthorizationServer::kubernetes) |
/// | `oidc` | `OIDC_ISSUER`; `OIDC_JWKS_HOST`, if keys are on another host | [`discover`](crate::AuthorizationServer::discover) |
///
/// # For each provider
///
/// With the provider's prefix in front, as in `OKTA_AUDIENCE`:
///
/// | variable | meaning | default |
/// |---|---|---|
/// | `…_AUDIENCE` | the `aud` of tokens for this API; several separated by commas | required, but where the provider's own say it |
/// | `…_ALLOWED_CLIENTS` | [clients](crate::AuthorizationServer::allowed_clients) whose tokens are accepted, comma-separated | all |
/// | `…_GROUPS_CLAIM` | the claims that groups are read from, comma-separated: names, or JSON pointers such as `/realm_access/roles` | the preset's |
/// | `…_GROUPS_CLAIM_FORMAT` | how they are written there: `strings`, `string`, `spaces`, `commas` or `keys`; see [`ListClaim`](crate::ListClaim) | `strings` |
/// | `…_GROUPS_FILTER` | [patterns](crate::AuthorizationServer::group_filter) of groups that count, comma-separated | all |
/// | `…_ADMIN_GROUPS`, `…_WRITE_GROUPS`, `…_READ_ONLY_GROUPS` | each in place of the one for all providers | that one |
/// | `…_REQUIRED_CLAIMS` | `claim=value`, or `claim` alone if it has only to be there, comma-separated; of several values for one claim, any | none |
/// | `…_REQUIRED_ACR` | [authentication contexts](crate::AuthorizationServer::require_acr) (`acr`), comma-separated: the user must have signed in under one of them | none |
/// | `…_REQUIRED_AMR` | [authentication methods](crate::AuthorizationServer::require_amr) (`amr`) such as `mfa`, comma-separated: the user must have signed in with one of them | none |
/// | `…_ALGORITHMS` | signature algorithms, comma-separated | the preset's |
/// | `…_MAX_TOKEN_AGE` | [seconds](crate::AuthorizationServer::max_token_age) since a token was issued, 1 to 31536000 | none |
/// | `…_ISSUER_ALIASES` | [other issuers](crate::AuthorizationServer::issuer_alias) of the same authorization server, comma-separated; not with several authorization servers | none |
/// | `…_JWKS_URI` | where its [keys](crate::AuthorizationServer::jwks_uri) are; not with several authorization servers | the preset's |
/// | `…_JWKS_FILE` | a [file](crate::AuthorizationServer::jwks_file) with its keys, in place of a URL | |
/// | `…_INTROSPECTION_URL` | where it is asked about [opaque tokens](crate::Introspection) (feature `introspection`); not with several authorization servers | |
/// | `…_INTROSPECTION_CLIENT_ID`, `…_INTROSPECTION_CLIENT_SECRET` | as which client | required with the URL |
/// | `…_INTROSPECTION_CLIENT_KEY_FILE` | the client's private key, in place of a secret | |
/// | `…_INTROSPECTION_FOR_JWTS` | `true` asks about JWTs, too | `false` |
/// | `…_DANGEROUS_ALLOW_PLAIN_HTTP` | `true` fetches its keys over [plain http](crate::AuthorizationServer::dangerous_allow_plain_http) | `false` |
#[derive(Clone, Default, Deserialize)]
#[serde(try_from = "BTreeMap<String, Raw>")]
pub struct ResourceServerConfig {
    /// By the name of the variable.
    file: BTreeMap<String, FileSetting>,
    vars: HashMap<String, OsString>,
}

/// One setting of a file.
#[derive(Clone)]
struct FileSetting {
    /// As it is written in the file, such as `okta.audience`.
    path: String,
    value: Value,
}

#[derive(Clone)]
enum Value {
    One(String),
    Many(Vec<String>),
    /// In a file, a boolean or a fraction: neither a text nor a number that is an id.
    Bare(String),
}

impl ResourceServerConfig {
    /// The environment's variables over these settings: where both have one, the environment's counts.
    #[must_use]
    pub fn with_env(self) -> Self {
        self.with_vars(std::env::vars_os())
    }

    /// These variables over these settings.
    #[must_use]
    pub fn with_vars<N: Into<OsString>, V: Into<OsString>>(
        mut self,
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        for (name, value) in vars {
            if let Ok(name) = name.into().into_string() {
                self.vars.insert(name, value.into());
            }
        }
        self
    }

    /// The policy that these settings describe.
    ///
    /// # Errors
    ///
    /// Every mistake at once. A setting of a file that nobody reads is one, unless its provider is just
    /// not trusted; so is a variable that is one slip away from one that would be read.
    pub fn build(self) -> Result<ResourceServer, SettingsError> {
        let mut reader = Reader::new(self);
        let (listed, providers) = providers::listed(&mut reader);
        let mut servers = Vec::new();
        for provider in &providers {
            servers.extend(provider.servers(&mut reader));
        }
        let (jwks, scopes) = (reader.jwks(), reader.scope_hierarchy());
        let mut builder = ResourceServer::builder()
            .leeway(reader.seconds("CLOCK_LEEWAY", 60, 0, 300))
            .token_cache(reader.token_cache());
        for server in servers {
            let server = server.jwks_policy(jwks.clone());
            builder = builder.trust(server.scope_hierarchy(scopes.clone()));
        }
        let is_needed = providers.iter().any(Provider::needs_token_header);
        if let Some(name) = reader.token_header(is_needed) {
            builder = builder.token_header(name);
        }
        let unread = unread::mistakes(&reader, &providers);
        let mut mistakes = reader.into_mistakes();
        mistakes.extend(unread);
        if !mistakes.is_empty() {
            return Err(SettingsError(mistakes));
        }
        // Each setting was checked; what the builder finds beyond that is about all of them.
        builder.build().map_err(|error| {
            SettingsError(vec![SettingMistake {
                setting: "AUTH_PROVIDERS".to_owned(),
                message: format!(
                    "AUTH_PROVIDERS is {listed:?}: expected settings that fit together, but {error}"
                ),
                found: Some(listed),
            }])
        })
    }
}

/// The names of settings; not what they say, which may be a secret.
impl fmt::Debug for ResourceServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<_> = self.file.values().map(|setting| &setting.path).collect();
        f.debug_struct("ResourceServerConfig")
            .field("file", &settings)
            .field("variables", &self.vars.len())
            .finish()
    }
}

/// What a file can hold.
#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<Self>),
    Table(BTreeMap<String, Self>),
}

impl Raw {
    /// What stands there as the value of a setting; `None` if that is nothing.
    fn value(self, path: &str) -> Result<Option<Value>, String> {
        Ok(Some(match self {
            Self::Null => return Ok(None),
            Self::Bool(truth) => Value::Bare(truth.to_string()),
            Self::Integer(number) => Value::One(number.to_string()),
            Self::Number(number) => Value::Bare(number.to_string()),
            Self::Text(text) => Value::One(text),
            Self::List(list) => {
                let items = list.into_iter().map(|item| item.item(path));
                Value::Many(items.collect::<Result<_, _>>()?)
            }
            Self::Table(_) => return Err(format!("{path} is a table: write a value, or a list")),
        }))
    }

    /// What stands there as one of a list.
    fn item(self, path: &str) -> Result<String, String> {
        match self.value(path) {
            Ok(Some(Value::One(text))) => Ok(text),
            // Which one, may be a secret.
            Ok(Some(Value::Bare(_))) => Err(format!(
                "{path} holds a boolean or a fraction: write a string, or a list of strings"
            )),
            _ => Err(format!("{path} holds more than plain values")),
        }
    }
}

impl TryFrom<BTreeMap<String, Raw>> for ResourceServerConfig {
    type Error = String;

    fn try_from(settings: BTreeMap<String, Raw>) -> Result<Self, String> {
        let mut config = Self::default();
        for (name, value) in settings {
            if let Raw::Table(table) = value {
                let has_tables = || table.values().any(|v| matches!(v, Raw::Table(_)));
                if !providers::is_one(&name) && has_tables() {
                    return Err(providers::no_provider(&name, true));
                }
                let prefix = providers::prefix(&name);
                for (key, value) in table {
                    let path = format!("{name}.{key}");
                    config.set(format!("{prefix}_{}", in_capitals(&key)), path, value)?;
                }
            } else {
                config.set(in_capitals(&name), name, value)?;
            }
        }
        Ok(config)
    }
}

impl ResourceServerConfig {
    fn set(&mut self, variable: String, path: String, value: Raw) -> Result<(), String> {
        let Some(value) = value.value(&path)? else {
            return Ok(());
        };
        match self.file.insert(variable, FileSetting { path, value }) {
            None => Ok(()),
            Some(other) => Err(format!("{} is there twice", other.path)),
        }
    }
}

fn in_capitals(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

/// Everything that is wrong with the settings; printed with a line for each mistake.
#[derive(Clone, PartialEq, Eq)]
pub struct SettingsError(Vec<SettingMistake>);

impl SettingsError {
    /// Each mistake: those of providers first, in their order.
    #[must_use]
    pub fn mistakes(&self) -> &[SettingMistake] {
        &self.0
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings do not describe a resource server:")?;
        self.0
            .iter()
            .try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

/// As `Display`, since this is what a `main` that returns an error prints.
impl fmt::Debug for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SettingsError {}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingMistake {
    /// The variable's name, or, of a file, where it is written there.
    pub setting: String,
    /// Its value; `None` if it is not set, and also if nobody is to see it.
    pub found: Option<String>,
    /// What is wrong, and what to write: a line that names the setting, too.
    pub message: String,
}

impl fmt::Display for SettingMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests;
