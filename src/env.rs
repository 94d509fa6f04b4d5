//! A policy from the environment.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fmt,
    time::Duration,
};

use crate::{
    authorization_server::{AuthorizationServer, WithoutAudience},
    error::without_userinfo,
    jwks_policy::JwksPolicy,
    provider::okta,
    resource_server::ResourceServer,
    role::{Role, RoleMapping},
    token_cache_policy::TokenCachePolicy,
};

const PROVIDERS: [&str; 1] = ["okta"];

/// In the order of the table.
const VARIABLES: [&str; 16] = [
    "AUTH_PROVIDERS",
    "OKTA_ORG_DOMAIN",
    "OKTA_AUDIENCE",
    "OKTA_AUTH_SERVER_ID",
    "OKTA_ALLOW_ORG_SERVER",
    "OKTA_CLIENT_ID",
    "OKTA_ALLOWED_CLIENTS",
    "OKTA_GROUPS_CLAIM",
    "ADMIN_GROUPS",
    "WRITE_GROUPS",
    "READ_ONLY_GROUPS",
    "JWKS_CACHE_TTL",
    "JWKS_MAX_KEYS",
    "CLOCK_LEEWAY",
    "TOKEN_CACHE_MAX_ENTRIES",
    "TOKEN_CACHE_MAX_BYTES",
];

/// # From the environment
impl ResourceServer {
    /// The policy that the environment describes.
    ///
    /// | variable | meaning | default |
    /// |---|---|---|
    /// | `AUTH_PROVIDERS` | who is trusted, comma-separated: `okta` | required |
    /// | `OKTA_ORG_DOMAIN` | a domain, `company.okta.com`, or an origin; plain http for this machine only | required |
    /// | `OKTA_AUDIENCE` | the `aud` of tokens for this API | required |
    /// | `OKTA_AUTH_SERVER_ID` | custom authorization servers, comma-separated | `default` |
    /// | `OKTA_ALLOW_ORG_SERVER` | `true` also trusts the org authorization server; see [`okta_org`](AuthorizationServer::okta_org) first | `false` |
    /// | `OKTA_CLIENT_ID` | the audience of the org authorization server's tokens; it does not restrict clients | required with the org server |
    /// | `OKTA_ALLOWED_CLIENTS` | clients (`cid`) whose tokens are accepted, comma-separated | all |
    /// | `OKTA_GROUPS_CLAIM` | the claim that groups are read from | `groups` |
    /// | `ADMIN_GROUPS`, `WRITE_GROUPS`, `READ_ONLY_GROUPS` | groups that grant `admin`, `write`, `read`, comma-separated; names are trimmed, empty ones left out | none |
    /// | `JWKS_CACHE_TTL` | longest life of cached keys in seconds, 1 to 86400 | `3600` |
    /// | `JWKS_MAX_KEYS` | most keys of one authorization server, 1 to 1000 | `100` |
    /// | `CLOCK_LEEWAY` | leeway for `exp`, `nbf` and `iat` in seconds, 0 to 300 | `60` |
    /// | `TOKEN_CACHE_MAX_ENTRIES` | most [verified tokens](TokenCachePolicy) that are remembered, up to 16777216; `0` remembers none | `16384` |
    /// | `TOKEN_CACHE_MAX_BYTES` | most bytes that they take, from 65536 on; `0` remembers none | `16777216` |
    ///
    /// # Errors
    ///
    /// Every mistake at once, each with the variable, what was found and what is expected. A
    /// variable that is one slip away from one of these, such as `OKTA_ALLOWED_CLIENT`, is a mistake
    /// too; others are none of its business.
    pub fn from_env() -> Result<Self, EnvError> {
        Self::from_vars(std::env::vars_os())
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
    /// let variables: Vec<_> = error.mistakes().iter().map(|mistake| &*mistake.variable).collect();
    /// assert_eq!(variables, ["OKTA_ORG_DOMAIN", "OKTA_AUDIENCE"]);
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`from_env`](Self::from_env).
    pub fn from_vars<N: Into<OsString>, V: Into<OsString>>(
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, EnvError> {
        let vars = vars
            .into_iter()
            .filter_map(|(name, value)| Some((name.into().into_string().ok()?, value.into())));
        let mut reader = Reader {
            vars: vars.collect(),
            mistakes: Vec::new(),
        };
        let providers = reader.providers();
        let servers = reader.okta();
        let leeway = reader.seconds("CLOCK_LEEWAY", 60, 0, 300);
        let token_cache = reader.token_cache();
        reader.slips();
        let mut builder = Self::builder().leeway(leeway).token_cache(token_cache);
        for server in servers {
            builder = builder.trust(server);
        }
        if !reader.mistakes.is_empty() {
            return Err(EnvError(reader.mistakes));
        }
        // Each variable was checked; what the builder finds beyond that is about all of them.
        builder.build().map_err(|error| {
            EnvError(vec![EnvMistake {
                variable: "AUTH_PROVIDERS".to_owned(),
                found: providers,
                expected: format!("settings that fit together, but {error}"),
            }])
        })
    }
}

/// Everything that is wrong with the environment; printed with a line for each mistake.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvError(Vec<EnvMistake>);

impl EnvError {
    /// Each mistake, in the order of the table.
    #[must_use]
    pub fn mistakes(&self) -> &[EnvMistake] {
        &self.0
    }
}

impl fmt::Display for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the environment does not describe a resource server:")?;
        self.0
            .iter()
            .try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

/// As `Display`, since this is what a `main` that returns an error prints.
impl fmt::Debug for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for EnvError {}

/// One thing that is wrong with the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnvMistake {
    /// The variable's name.
    pub variable: String,
    /// Its value; `None` if it is not set.
    pub found: Option<String>,
    /// What to write.
    pub expected: String,
}

impl fmt::Display for EnvMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Some(found) => write!(f, "{} is {found:?}", self.variable),
            None => write!(f, "{} is not set", self.variable),
        }?;
        write!(f, ": expected {}", self.expected)
    }
}

struct Reader {
    vars: HashMap<String, OsString>,
    mistakes: Vec<EnvMistake>,
}

impl Reader {
    fn providers(&mut self) -> Option<String> {
        const EXPECTED: &str = "a comma-separated list of providers, of which there is `okta`";
        let text = self.required("AUTH_PROVIDERS", EXPECTED)?;
        let names: Vec<_> = text.split(',').map(str::trim).collect();
        let distinct: HashSet<_> = names.iter().collect();
        if distinct.len() != names.len() || names.iter().any(|name| !PROVIDERS.contains(name)) {
            self.mistake("AUTH_PROVIDERS", &*text, EXPECTED);
        }
        Some(text)
    }

    fn okta(&mut self) -> Vec<AuthorizationServer> {
        let domain = self.required(
            "OKTA_ORG_DOMAIN",
            "the domain of the Okta org, such as `company.okta.com`",
        );
        let domain = domain.and_then(|domain| match okta::origin(&domain) {
            Ok(origin) => Some(origin),
            Err(error) => {
                let advice = error.to_string();
                let advice = advice
                    .split_once("\" ")
                    .map_or(&*advice, |(_, advice)| advice);
                let expected = format!("the domain of the Okta org; this one {advice}");
                self.mistake("OKTA_ORG_DOMAIN", without_userinfo(&domain), expected);
                None
            }
        });
        let audience = self.required(
            "OKTA_AUDIENCE",
            "the `aud` of tokens for this API, such as `api://default`, without spaces around it",
        );
        let ids = self.list_of_ids();
        let with_org_server = self.boolean("OKTA_ALLOW_ORG_SERVER");
        let client_id = if with_org_server {
            self.required(
                "OKTA_CLIENT_ID",
                "the client id that tokens of the org authorization server are for",
            )
        } else {
            self.text("OKTA_CLIENT_ID", "a client id, or no such variable")
        };
        let allowed_clients = self.names("OKTA_ALLOWED_CLIENTS", "client ids, comma-separated");
        let groups_claim = self
            .text("OKTA_GROUPS_CLAIM", "the name of a claim")
            .unwrap_or_else(|| "groups".to_owned());
        let roles = RoleMapping::new()
            .grant(Role::Admin, self.groups("ADMIN_GROUPS"))
            .grant(Role::Write, self.groups("WRITE_GROUPS"))
            .grant(Role::Read, self.groups("READ_ONLY_GROUPS"));
        let ttl_cap = self.seconds("JWKS_CACHE_TTL", 3_600, 1, 86_400);
        let max_keys = self.number("JWKS_MAX_KEYS", 100, 1, 1_000);
        let policy = JwksPolicy::default()
            .ttl_cap(ttl_cap)
            .max_keys(usize::try_from(max_keys).unwrap_or(usize::MAX));

        let (Some(domain), Some(audience)) = (domain, audience) else {
            return Vec::new();
        };
        let configure = |server: WithoutAudience, audience: String| {
            let server = server
                .audience(audience)
                .groups_claim(groups_claim.clone())
                .roles(roles.clone())
                .jwks_policy(policy.clone());
            match &allowed_clients {
                Some(clients) => server.allowed_clients(clients.clone()),
                None => server,
            }
        };
        let custom = ids.iter().map(|id| {
            configure(
                AuthorizationServer::okta_custom(&domain, id),
                audience.clone(),
            )
        });
        let org = client_id
            .filter(|_| with_org_server)
            .map(|client_id| configure(AuthorizationServer::okta_org(&domain), client_id));
        custom.chain(org).collect()
    }

    /// Names that nobody reads, and that were probably meant to be read.
    fn slips(&mut self) {
        let mut slips: Vec<_> = self
            .vars
            .keys()
            .filter(|name| !VARIABLES.contains(&name.as_str()))
            .filter_map(|name| {
                let meant = VARIABLES.iter().find(|known| is_one_slip(name, known))?;
                Some((name.clone(), *meant))
            })
            .collect();
        slips.sort();
        for (name, meant) in slips {
            let value = self.vars.get(&name);
            self.mistakes.push(EnvMistake {
                found: value.map(|value| without_userinfo(&value.to_string_lossy())),
                expected: format!("no such variable, or {meant}"),
                variable: name,
            });
        }
    }

    fn list_of_ids(&mut self) -> Vec<String> {
        const NAME: &str = "OKTA_AUTH_SERVER_ID";
        const EXPECTED: &str = "ids of custom authorization servers, comma-separated, each once, such as `default` or `aus9o8wzkhckw9TLa0h7z`";
        let ids = self
            .names(NAME, EXPECTED)
            .unwrap_or_else(|| vec!["default".to_owned()]);
        let distinct: HashSet<_> = ids.iter().collect();
        if distinct.len() != ids.len() || !ids.iter().all(|id| okta::is_id(id)) {
            self.mistake(NAME, ids.join(","), EXPECTED);
        }
        ids
    }

    /// Names between commas, none of them empty; `None` if there is no such variable.
    fn names(&mut self, name: &'static str, expected: &str) -> Option<Vec<String>> {
        let text = self.text(name, expected)?;
        let names: Vec<_> = text.split(',').map(|name| name.trim().to_owned()).collect();
        if names.iter().any(String::is_empty) {
            self.mistake(name, text, expected);
            return None;
        }
        Some(names)
    }

    /// Names between commas, empty ones left out.
    fn groups(&mut self, name: &'static str) -> Vec<String> {
        let text = self.raw(name, "names of groups, comma-separated");
        let names = text.iter().flat_map(|text| text.split(',')).map(str::trim);
        names
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn boolean(&mut self, name: &'static str) -> bool {
        match self.raw(name, "`true` or `false`").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                self.mistake(name, other, "`true` or `false`");
                false
            }
        }
    }

    fn token_cache(&mut self) -> TokenCachePolicy {
        let default = TokenCachePolicy::default();
        let most_entries = TokenCachePolicy::MOST_ENTRIES as u64;
        let least_bytes = TokenCachePolicy::LEAST_BYTES as u64;
        TokenCachePolicy {
            max_entries: self.size(
                "TOKEN_CACHE_MAX_ENTRIES",
                default.max_entries,
                1,
                most_entries,
            ),
            max_bytes: self.size(
                "TOKEN_CACHE_MAX_BYTES",
                default.max_bytes,
                least_bytes,
                1 << 40,
            ),
        }
    }

    /// A number from a range, or zero.
    fn size(&mut self, name: &'static str, default: usize, min: u64, max: u64) -> usize {
        let expected = format!("0, or a whole number from {min} to {max}");
        let is_allowed = |number| number == 0 || (min..=max).contains(&number);
        let number = self.number_that(name, default as u64, expected, is_allowed);
        usize::try_from(number).unwrap_or(usize::MAX)
    }

    fn seconds(&mut self, name: &'static str, default: u64, min: u64, max: u64) -> Duration {
        Duration::from_secs(self.number(name, default, min, max))
    }

    fn number(&mut self, name: &'static str, default: u64, min: u64, max: u64) -> u64 {
        let expected = format!("a whole number from {min} to {max}");
        self.number_that(name, default, expected, |number| {
            (min..=max).contains(&number)
        })
    }

    fn number_that(
        &mut self,
        name: &'static str,
        default: u64,
        expected: String,
        is_allowed: impl Fn(u64) -> bool,
    ) -> u64 {
        let Some(text) = self.raw(name, &expected) else {
            return default;
        };
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && is_allowed(number) => number,
            _ => {
                self.mistake(name, text, expected);
                default
            }
        }
    }

    fn required(&mut self, name: &'static str, expected: &str) -> Option<String> {
        if !self.vars.contains_key(name) {
            self.mistakes.push(EnvMistake {
                variable: name.to_owned(),
                found: None,
                expected: expected.to_owned(),
            });
        }
        self.text(name, expected)
    }

    /// A value that is not empty and has no white space around it, which is never meant.
    fn text(&mut self, name: &'static str, expected: &str) -> Option<String> {
        let text = self.raw(name, expected)?;
        if text.is_empty() || text.trim() != text {
            self.mistake(name, text, expected);
            return None;
        }
        Some(text)
    }

    fn raw(&mut self, name: &'static str, expected: &str) -> Option<String> {
        match self.vars.get(name)?.clone().into_string() {
            Ok(text) => Some(text),
            Err(other) => {
                self.mistake(name, other.to_string_lossy(), expected);
                None
            }
        }
    }

    fn mistake(
        &mut self,
        variable: &'static str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.mistakes.push(EnvMistake {
            variable: variable.to_owned(),
            found: Some(found.into()),
            expected: expected.into(),
        });
    }
}

/// Whether the names differ in one character: added, left out, or another one.
fn is_one_slip(a: &str, b: &str) -> bool {
    let same = |(x, y): &(u8, u8)| x == y;
    let front = a.bytes().zip(b.bytes()).take_while(same).count();
    let back = a
        .bytes()
        .rev()
        .zip(b.bytes().rev())
        .take_while(same)
        .count();
    let longer = a.len().max(b.len());
    a.len().abs_diff(b.len()) <= 1 && front + back + 1 >= longer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::ListClaim;

    const GOOD: [(&str, &str); 3] = [
        ("AUTH_PROVIDERS", "okta"),
        ("OKTA_ORG_DOMAIN", "company.okta.com"),
        ("OKTA_AUDIENCE", "api://boilstream"),
    ];

    /// Later ones win; `(unset)` takes one out.
    fn build(changes: &[(&str, &str)]) -> Result<ResourceServer, EnvError> {
        let mut vars: HashMap<&str, &str> =
            GOOD.into_iter().chain(changes.iter().copied()).collect();
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
            Err(error) => error.0.into_iter().map(|m| m.variable).collect(),
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
        let wrong = wrong(&[
            ("AUTH_PROVIDERS", "okto"),
            ("OKTA_ORG_DOMAIN", "{yourOktaDomain}"),
            ("OKTA_AUDIENCE", "(unset)"),
            ("OKTA_AUTH_SERVER_ID", "default,,x"),
            ("OKTA_ALLOW_ORG_SERVER", "yes"),
            ("JWKS_CACHE_TTL", "1h"),
            ("JWKS_MAX_KEYS", "0"),
            ("CLOCK_LEEWAY", "-1"),
        ]);
        assert_eq!(
            wrong,
            [
                "AUTH_PROVIDERS",
                "OKTA_ORG_DOMAIN",
                "OKTA_AUDIENCE",
                "OKTA_AUTH_SERVER_ID",
                "OKTA_ALLOW_ORG_SERVER",
                "JWKS_CACHE_TTL",
                "JWKS_MAX_KEYS",
                "CLOCK_LEEWAY",
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
            ("AUTH_PROVIDERS", "okta,auth0"),
            ("OKTA_ORG_DOMAIN", ""),
            ("OKTA_ORG_DOMAIN", "company-admin.okta.com"),
            ("OKTA_ORG_DOMAIN", "http://company.okta.com"),
            ("OKTA_AUDIENCE", ""),
            ("OKTA_AUDIENCE", " api "),
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
        assert_eq!(error.unwrap_err().mistakes()[0].variable, "ADMIN_GROUPS");
    }
}
